// The page that asks for a password or a key.

const word = document.getElementById("word"), fault = document.getElementById("fault");

// the page that asked for a sign-in; only one of this listener
function wanted() {
  const next = new URLSearchParams(location.search).get("next");
  const address = next && URL.canParse(next, location.origin) ? new URL(next, location.origin) : null;
  return address?.origin === location.origin ? address.href : null;
}

async function attempt(way) {
  const answer = await fetch("/api/session", {
    method: "POST", headers: {"content-type": "application/json"}, body: JSON.stringify({[way]: word.value}),
  });
  return [answer.status, await answer.json()];
}

document.getElementById("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  fault.textContent = "";
  const [status, body] = await attempt(word.value.startsWith("dk-") ? "key" : "password");
  if (status === 200) location.assign(wanted() ?? (body.session.role === "key" ? "/usage" : "/overview"));
  else fault.textContent = body.error;
});

fetch("/api/session").then((answer) => answer.json()).then((body) => {
  document.getElementById("elsewhere").hidden = !body.ways.oidc;
});
