// Probabilities over time and the latency histogram. Drawn whole, when there is something new.

import { fit, hatch, theme } from "./canvas.js";

const DASHES = [[], [], [], [], [7, 4], [2, 3], [9, 3, 2, 3], [4, 2]];

const classColour = (i) => theme().classes[i % 8];

/** Draws decisions as one line a class.
 * @param decisions {start, stop, probs, reason}, oldest first
 * @param markers [sample, text], oldest first
 * @param newest sample at the right edge
 * @param span samples from edge to edge */
export function drawCurves(canvas, decisions, markers, nClasses, hop, newest, span) {
  const { width, height, ratio } = fit(canvas);
  const context = canvas.getContext("2d");
  const style = theme();
  const pad = 2 * ratio;
  const x = (sample) => width - ((newest - sample) / span) * width;
  const y = (p) => pad + (1 - p) * (height - 2 * pad);
  context.clearRect(0, 0, width, height);
  context.fillStyle = style.grid;
  for (const p of [0, 0.5, 1]) context.fillRect(0, Math.round(y(p) - ratio / 2), width, ratio);
  for (const share of [1 / 3, 2 / 3]) context.fillRect(Math.round(share * width), 0, ratio, height);
  context.fillStyle = hatch(context, style.hatch, ratio);
  let before = null;
  for (const d of decisions) {
    const from = before === null ? d.stop - hop : Math.min(before, d.stop);
    const to = d.reason === null ? d.stop - hop : d.stop;
    if (to > from) context.fillRect(Math.round(x(from)), 0, Math.round(x(to)) - Math.round(x(from)), height);
    before = d.stop;
  }
  drawMarkers(context, markers, x, width, height, ratio);
  context.lineWidth = 2 * ratio;
  context.lineJoin = "round";
  for (let c = nClasses - 1; c >= 0; c--) {
    context.strokeStyle = classColour(c);
    context.setLineDash(DASHES[c % DASHES.length].map((n) => n * ratio));
    context.beginPath();
    let last = null;
    for (const d of decisions) {
      const p = d.probs?.[c];
      if (p === undefined || p === null) {
        last = null;
        continue;
      }
      if (last !== null && d.stop - last <= 2 * hop) context.lineTo(x(d.stop), y(p));
      else context.moveTo(x(d.stop) - ratio, y(p)), context.lineTo(x(d.stop), y(p));
      last = d.stop;
    }
    context.stroke();
  }
  context.setLineDash([]);
}

/** Draws a line for each marker, and its text where there is room before the next. */
function drawMarkers(context, markers, x, width, height, ratio) {
  const style = theme();
  context.font = `${11 * ratio}px ${style.font}`;
  context.textAlign = "left";
  context.textBaseline = "middle";
  markers.forEach(([sample, text], i) => {
    const from = Math.round(x(sample));
    if (from < 0 || from > width) return;
    const to = i + 1 < markers.length ? x(markers[i + 1][0]) : width;
    context.fillStyle = style.soft;
    context.fillRect(from, 0, ratio, height);
    const wide = context.measureText(text).width + 8 * ratio;
    if (wide > to - from - ratio) return;
    context.fillStyle = style.plate;
    context.fillRect(from + ratio, height / 2 - 8 * ratio, wide, 16 * ratio);
    context.fillStyle = style.ink;
    context.fillText(text, from + 5 * ratio, height / 2);
  });
}

/** Gives each label a place of its own as near as can be to where it belongs. */
export function spread(wanted, tall, height) {
  const order = wanted.map((at, i) => [at, i]).sort((a, b) => a[0] - b[0]);
  const out = new Array(wanted.length);
  let floor = 0;
  order.forEach(([at, i]) => {
    out[i] = Math.max(at - tall / 2, floor);
    floor = out[i] + tall;
  });
  let ceiling = height;
  for (const [, i] of order.reverse()) {
    out[i] = Math.min(out[i], ceiling - tall);
    ceiling = out[i];
  }
  return out;
}

/** Draws the histogram; gives the ticks of its axis as [share of the width, text]. */
export function drawHistogram(canvas, latency) {
  const { width, height, ratio } = fit(canvas);
  const context = canvas.getContext("2d");
  const style = theme();
  context.clearRect(0, 0, width, height);
  context.fillStyle = style.line;
  context.fillRect(0, height - ratio, width, ratio);
  if (!latency) return [];
  const { first_ms: first, per_decade: perDecade, counts, p50, p99 } = latency;
  // At least one decade, so that a narrow distribution looks narrow.
  const spare = Math.max(2, perDecade - counts.length + 2);
  const bins = counts.length + spare;
  const low = Math.log10(first) - Math.floor(spare / 2) / perDecade;
  const at = (ms) => (Math.log10(ms) - low) * (perDecade / bins);
  const most = Math.max(...counts);
  const step = width / bins;
  context.fillStyle = style.classes[0];
  counts.forEach((count, i) => {
    if (!count) return;
    const tall = Math.max(2 * ratio, (count / most) * (height - 16 * ratio));
    const left = at(first) * width + i * step;
    context.fillRect(Math.round(left), height - tall, Math.round(left + step) - Math.round(left) - ratio, tall);
  });
  context.font = `${11 * ratio}px ${style.font}`;
  context.textBaseline = "top";
  const xs = [at(p50) * width, at(p99) * width];
  const close = xs[1] - xs[0] < 30 * ratio;
  [["p50", "right"], ["p99", "left"]].forEach(([text, side], i) => {
    context.fillStyle = style.ink;
    context.fillRect(Math.round(xs[i]), 0, ratio, height);
    const wide = context.measureText(text).width + 4 * ratio;
    context.textAlign = xs[i] + wide > width ? "right" : close ? side : "left";
    context.fillText(text, xs[i] + (context.textAlign === "left" ? 4 : -4) * ratio, 0);
  });
  const ticks = [];
  for (let decade = Math.floor(low); decade <= low + bins / perDecade; decade++) {
    for (const m of [1, 2, 5]) {
      const share = at(m * 10 ** decade);
      if (share > 0.03 && share < 0.97) ticks.push([share, `${Number((m * 10 ** decade).toPrecision(1))}`]);
    }
  }
  return ticks;
}
