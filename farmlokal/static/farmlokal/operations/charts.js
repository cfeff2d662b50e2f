// Draws a chart as SVG at the width of its figure, with a legend, a sentence, and a table of the same values.
// Lines differ by colour and by dashes. A step without a value is a gap.

import { html, svg } from "./elements.js";

const HEIGHT = 180;
const MARGIN = { left: 52, right: 8, top: 10, bottom: 22 };
const LABEL_WIDTH = 70; // room for one time on the axis

export function drawChart(figure, chart, labels) {
  figure.querySelector("figcaption p").textContent = chart.summary;
  figure.querySelector("ul").replaceChildren(...chart.lines.map((line, number) => legend(chart, line, number)));
  drawLines(figure.querySelector("svg"), chart, labels);
  fillTable(figure.querySelector("table"), chart, labels);
}

function legend(chart, line, number) {
  const sample = svg("svg", { viewBox: "0 0 30 8", width: 30, height: 8, "aria-hidden": "true" });
  sample.append(svg("path", { class: `line line-${number}`, d: "M1 4H29" }));
  const last = line.values.at(-1) ?? null;
  return html("li", {}, sample, ` ${line.name}: ${last === null ? "–" : `${text(last)} ${chart.unit}`}`);
}

function text(value) {
  return value.toLocaleString("en-IN", { maximumFractionDigits: 2 });
}

function drawLines(image, chart, labels) {
  const width = Math.max(image.clientWidth, 200);
  const most = niceMaximum(Math.max(0, ...chart.lines.flatMap((line) => line.values)), chart.unit);
  const x = (step) => MARGIN.left + (step / Math.max(labels.length - 1, 1)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => HEIGHT - MARGIN.bottom - (value / most) * (HEIGHT - MARGIN.bottom - MARGIN.top);
  image.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  image.setAttribute("aria-label", `${chart.title}. ${chart.summary}`);
  image.replaceChildren(
    ...[0, most / 2, most].flatMap((value) => [
      svg("path", { class: "grid", d: `M${MARGIN.left} ${y(value)}H${width - MARGIN.right}` }),
      svg("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, text(value)),
    ]),
    ...timeLabels(labels, width, x),
    ...chart.lines.map((line, number) => svg("path", { class: `line line-${number}`, d: path(line.values, x, y) })),
  );
}

function niceMaximum(value, unit) {
  if (unit === "%") return 100;
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 3, 4, 5, 6, 8, 10].find((factor) => factor * power >= value);
}

function timeLabels(labels, width, x) {
  const every = Math.ceil((labels.length * LABEL_WIDTH) / (width - MARGIN.left));
  return labels.flatMap((label, step) =>
    step % every === 0 && x(step) + LABEL_WIDTH / 2 < width
      ? [svg("text", { x: x(step), y: HEIGHT - 6, "text-anchor": "middle" }, label)]
      : [],
  );
}

// A single value between two gaps is a dot: a line of no length with round ends.
function path(values, x, y) {
  return values
    .map((value, step) => {
      if (value === null) return "";
      const isFirst = step === 0 || values[step - 1] === null;
      return `${isFirst ? "M" : "L"}${x(step).toFixed(1)} ${y(value).toFixed(1)}${isFirst ? "h0" : ""}`;
    })
    .join("");
}

// The newest step first.
function fillTable(table, chart, labels) {
  const heads = ["From", ...chart.lines.map((line) => `${line.name}, ${chart.unit}`)];
  const rows = labels.map((label, step) =>
    html(
      "tr",
      {},
      html("th", { scope: "row" }, label),
      ...chart.lines.map((line) => html("td", {}, line.values[step] === null ? "–" : text(line.values[step]))),
    ),
  );
  table.replaceChildren(
    html("thead", {}, html("tr", {}, ...heads.map((head) => html("th", { scope: "col" }, head)))),
    html("tbody", {}, ...rows.reverse()),
  );
}
