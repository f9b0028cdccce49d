// Sets light or dark before anything is drawn, so that a page does not flash: what was chosen last, else what the system says.

const night = matchMedia("(prefers-color-scheme: dark)");

function setTheme() {
  document.documentElement.dataset.theme = localStorage.getItem("dragoman-theme") ?? (night.matches ? "dark" : "light");
  dispatchEvent(new Event("theme"));
}

setTheme();
night.addEventListener("change", setTheme);
addEventListener("storage", setTheme);
