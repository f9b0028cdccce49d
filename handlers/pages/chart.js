// Charts by uPlot, in the colours of the page. A chart is drawn anew when its width or the colours change; what it shows stands in a
// table beside it too, or is said in its label.

import uPlot from "./uplot.js";
import { element, set } from "./kit.js";

export const HUES = 8; // --hue-1 to --hue-8 of pages.css

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const DAYS = [1, 2, 4, 7, 14, 28, 56].map((days) => days * 86400); // between two labels
const FONT = "11px system-ui, sans-serif";
const utc = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
const local = (seconds) => new Date(seconds * 1000);
const two = (value) => String(value).padStart(2, "0");

function times(chart, splits, _axis, _space, step) {
  return splits.map((seconds) => {
    const date = chart.days ? utc(seconds) : local(seconds);
    if (step >= 86400) return `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
    return `${two(date.getHours())}:${two(date.getMinutes())}${step < 60 ? `:${two(date.getSeconds())}` : ""}`;
  });
}

// what: {name, label (where it has no name of its own), height, format(value), series: [{label, hue, fill, dash}], stacked, days, range(): [low, high], choose(index)}
export class Chart {
  constructor(what) {
    this.what = what;
    this.data = [[]];
    this.canvas = set(element("div", "plot"), { role: "img", "aria-label": what.name || what.label });
    this.tip = element("p", "tip", " ");
    this.key = element("p", "key");
    this.node = element("figure", "chart", element("figcaption", "", element("span", "", what.name), this.tip), this.canvas, this.key);
    this.canvas.style.height = `${what.height ?? 200}px`;
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    addEventListener("theme", () => this.draw());
  }

  // data: times in seconds, and one list for each series
  show(data, series = this.what.series, label = this.what.name) {
    this.same = this.plot && this.days === this.what.days && series.length === this.what.series.length && series.every((one, at) => one.label === this.what.series[at].label);
    this.what.series = series;
    this.data = data;
    this.canvas.setAttribute("aria-label", label);
    if (this.same) {
      this.plot.setData(this.drawn());
    } else {
      this.draw();
    }
  }

  // stacked series are drawn from the highest sum down, each over the one before
  drawn() {
    if (!this.what.stacked) return this.data;
    const [when, ...values] = this.data;
    const sums = [];
    let below = when.map(() => 0);
    for (const one of values) sums.push((below = below.map((sum, at) => sum + (one[at] ?? 0))));
    return [when, ...sums.reverse()];
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (width && this.plot && width !== this.plot.width) this.plot.setSize({ width, height: this.what.height ?? 200 });
    else if (width && !this.plot) this.draw();
  }

  draw() {
    const width = this.canvas.clientWidth;
    if (!width) return;
    this.plot?.destroy();
    const { series, stacked, format, range, days, height = 200 } = this.what;
    this.days = days;
    const bars = stacked && uPlot.paths.bars({ size: [0.86, 48], align: 1 });
    const lines = series.map((one) => {
      const hue = colour(one.hue);
      if (stacked) return { stroke: hue, fill: hue, width: 0, paths: bars, points: { show: false } };
      return { stroke: hue, width: 2, dash: one.dash, fill: one.fill ? `color-mix(in srgb, ${hue} 14%, transparent)` : undefined, points: { show: false }, spanGaps: true };
    });
    const axis = { stroke: colour("--faint"), font: FONT, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
    this.plot = new uPlot(
      {
        width,
        height,
        padding: [8, 22, 0, 0],
        tzDate: days ? utc : local,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { show: !stacked, size: 7 } },
        scales: { x: { time: true, ...(range ? { range } : {}) }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
        axes: [
          { ...axis, grid: { show: false }, values: (plot, ...more) => times({ days }, ...more), size: 26, ...(days ? { incrs: DAYS } : {}) },
          { ...axis, size: 62, values: (_, splits) => splits.map((value) => format(value)) },
        ],
        series: [{}, ...(stacked ? lines.reverse() : lines)],
        hooks: { setCursor: [(plot) => this.point(plot.cursor.idx)] },
      },
      this.drawn(),
      this.canvas,
    );
    this.plot.over.addEventListener("click", () => {
      const at = this.plot.cursor.idx;
      if (this.what.choose && at !== null) this.what.choose(this.data[0][at]);
    });
    this.plot.over.classList.toggle("chosen", Boolean(this.what.choose));
    this.legend();
  }

  legend() {
    const { series } = this.what;
    this.key.hidden = series.length < 2;
    this.key.replaceChildren(
      ...series.map((one) => {
        const swatch = element("i");
        swatch.style.background = colour(one.hue);
        return element("span", "", swatch, one.label);
      }),
    );
  }

  point(at) {
    if (at === null || at === undefined || this.data[0][at] === undefined) return void (this.tip.textContent = " ");
    const { series, format, days } = this.what;
    const date = days ? utc(this.data[0][at]) : local(this.data[0][at]);
    const clock = days ? "" : ` ${two(date.getHours())}:${two(date.getMinutes())}${days === undefined ? `:${two(date.getSeconds())}` : ""}`;
    const values = series.map((one, k) => [one.label, this.data[k + 1][at]]).filter(([, value]) => value !== null && value !== undefined && (value || series.length < 3));
    this.tip.textContent = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}${clock}  ${values.map(([label, value]) => `${label} ${format(value)}`).join("  ·  ")}`;
    return undefined;
  }
}
