// The scrolling EEG. Only new samples are drawn, into a strip that is used in rounds; a frame copies the strip.

import { fit, hatch, theme } from "./canvas.js";

const STEPS_UV = [2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const SPARE = 64; // Pixels of the strip beyond the picture, where the next samples go.
const LANE = 0.46; // Of a lane is as tall as the scale's microvolts.
const LAG_S = 0.12; // Samples come in packets: shown that much later, they run evenly.

const modulo = (a, n) => ((a % n) + n) % n;

export class Eeg {
  #canvas;
  #strip = document.createElement("canvas");
  #still = matchMedia("(prefers-reduced-motion: reduce)");
  #size = { width: 0, height: 0, ratio: 1 };
  #n = 0;
  #rate = 1;
  #keep = 1;
  #rows = new Float32Array(0);
  #first = 0;
  #end = 0;
  #head = 0; // Newest sample on the picture; a fraction while it moves.
  #drawn = 0;
  #cleared = 0;
  #stepUv = 50;
  #scaledAt = 0;
  #frameAt = 0;
  #poor = [];
  onscale = () => {}; // Called with a number of microvolts and how tall they are, as a share of the height.
  paused = false;
  spans = []; // [start, stop, reason] without a decision, in samples.
  markers = []; // [sample, text]

  constructor(canvas) {
    this.#canvas = canvas;
    // The size is told after the frame was drawn: without another one an empty canvas would be shown.
    new ResizeObserver(() => {
      this.restyle();
      this.#frame(performance.now());
    }).observe(canvas);
    const frame = (now) => {
      this.#frame(now);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  get seconds() {
    return this.#size.width / this.#size.ratio < 500 ? 5 : 10;
  }

  get sweeping() {
    return this.#still.matches;
  }

  reset(channels, rate, keepS) {
    this.#n = channels;
    this.#rate = rate;
    this.#keep = Math.ceil(rate * keepS);
    this.#rows = new Float32Array(this.#keep * channels).fill(NaN);
    this.#first = this.#end = this.#head = 0;
    this.#poor = new Array(channels).fill(false);
    this.spans = [];
    this.markers = [];
    this.#scale();
    this.restyle();
  }

  /** Takes samples; a stretch may come again. */
  write(start, values) {
    const n = values.length / this.#n;
    if (this.#end === this.#first) this.#first = this.#end = this.#head = this.#drawn = start;
    if (start < this.#end) {
      this.#first = Math.min(this.#first, start);
      if (start < this.#drawn) this.#rewind(start);
    }
    for (let at = Math.max(this.#end, start - this.#keep); at < start; at++) {
      this.#rows.fill(NaN, (at % this.#keep) * this.#n, (at % this.#keep + 1) * this.#n);
    }
    for (let i = Math.max(0, n - this.#keep); i < n; i++) {
      this.#rows.set(values.subarray(i * this.#n, (i + 1) * this.#n), ((start + i) % this.#keep) * this.#n);
    }
    this.#end = start + n;
    this.#first = Math.max(this.#first, this.#end - this.#keep);
  }

  #scale() {
    if (this.#n) this.onscale(this.#stepUv, LANE / this.#n);
    this.redraw();
  }

  /** Says which channels are poor from now on. */
  poor(channels) {
    this.#poor = channels;
  }

  restyle() {
    this.#size = fit(this.#canvas);
    this.#strip.width = this.#size.width + SPARE * this.#size.ratio;
    this.#strip.height = this.#size.height;
    this.redraw();
  }

  redraw() {
    const shown = Math.ceil(this.seconds * this.#rate) + 2;
    this.#strip.getContext("2d").clearRect(0, 0, this.#strip.width, this.#strip.height);
    this.#drawn = Math.max(this.#first, Math.floor(this.#head) - shown);
    this.#cleared = this.#x(this.#drawn);
  }

  get #perSample() {
    return this.#size.width / (this.seconds * this.#rate);
  }

  #x(sample) {
    return sample * this.#perSample;
  }

  #rewind(start) {
    const oldest = Math.floor(this.#head) - Math.ceil(this.seconds * this.#rate);
    this.#drawn = Math.max(start - 1, this.#first, oldest);
    this.#cleared = this.#x(this.#drawn);
  }

  #move(seconds) {
    const target = this.#end - LAG_S * this.#rate;
    const behind = (target - this.#head) / this.#rate;
    if (Math.abs(behind) > 1.5) this.#head = Math.max(this.#first, target);
    else this.#head += seconds * this.#rate * (1 + Math.max(-0.5, Math.min(1, behind / 0.6)));
    this.#head = Math.max(this.#first, Math.min(this.#head, this.#end - 1));
  }

  /** Chooses the scale in steps, for most channels: one that is loud, or a blink, must not flatten the rest. */
  #chooseScale(now) {
    if (now - this.#scaledAt < 500 || this.#end - this.#first < this.#rate / 2) return;
    this.#scaledAt = now;
    const from = Math.max(this.#first, this.#end - Math.ceil(this.seconds * this.#rate));
    const sizes = [];
    for (let c = 0; c < this.#n; c++) {
      const values = [];
      for (let i = from; i < this.#end; i += 2) {
        const value = Math.abs(this.#rows[(i % this.#keep) * this.#n + c]);
        if (value === value) values.push(value);
      }
      if (values.length) sizes.push(values.sort((a, b) => a - b)[Math.floor(0.95 * (values.length - 1))]);
    }
    if (!sizes.length) return;
    const size = 1.3 * sizes.sort((a, b) => a - b)[Math.floor(0.7 * (sizes.length - 1))];
    const step = STEPS_UV.find((uv) => uv >= size) ?? STEPS_UV.at(-1);
    if (step > this.#stepUv || size < 0.7 * (STEPS_UV[STEPS_UV.indexOf(this.#stepUv) - 1] ?? 0)) {
      this.#stepUv = step;
      this.#scale();
    }
  }

  #clear(context, from, to) {
    const width = this.#strip.width;
    if (to - from >= width) return context.clearRect(0, 0, width, this.#strip.height);
    const at = modulo(from, width);
    context.clearRect(at, 0, to - from, this.#strip.height);
    if (at + to - from > width) context.clearRect(0, 0, at + to - from - width, this.#strip.height);
  }

  /** Draws samples up to `stop` into the strip. */
  #draw(stop) {
    const context = this.#strip.getContext("2d");
    const { height, ratio } = this.#size;
    const width = this.#strip.width;
    const ahead = this.#x(stop) + 10 * ratio;
    this.#clear(context, this.#cleared, ahead);
    this.#cleared = ahead;
    const lane = height / this.#n;
    const perUv = (LANE * lane) / this.#stepUv;
    const style = theme();
    context.lineWidth = 1.2 * ratio;
    context.lineJoin = "bevel";
    for (let c = 0; c < this.#n; c++) {
      const middle = (c + 0.5) * lane;
      const most = 0.62 * lane;
      context.strokeStyle = this.#poor[c] ? style.weak : style.trace;
      context.beginPath();
      let pen = false;
      let before = [0, 0];
      for (let i = Math.max(this.#drawn - 1, this.#first); i < stop; i++) {
        const value = this.#rows[(i % this.#keep) * this.#n + c];
        if (value !== value) {
          pen = false;
          continue;
        }
        const x = modulo(this.#x(i), width);
        const y = middle - Math.max(-most, Math.min(most, value * perUv));
        if (pen && x < before[0]) {
          context.lineTo(x + width, y);
          context.moveTo(before[0] - width, before[1]);
        }
        if (pen) context.lineTo(x, y);
        else context.moveTo(x, y);
        pen = true;
        before = [x, y];
      }
      context.stroke();
    }
    this.#drawn = stop;
  }

  #frame(now) {
    const seconds = Math.min(0.25, (now - this.#frameAt) / 1000);
    this.#frameAt = now;
    const { width, height, ratio } = this.#size;
    if (!this.#n || !width || this.#end === this.#first) return;
    if (!this.paused) {
      this.#move(seconds);
      this.#chooseScale(now);
    }
    const stop = Math.floor(this.#head) + 1;
    if (stop - this.#drawn > this.seconds * this.#rate) this.redraw();
    if (stop > this.#drawn) this.#draw(stop);
    this.#show(Math.floor(this.#x(this.#head)), width, height, ratio);
  }

  #show(newest, width, height, ratio) {
    const context = this.#canvas.getContext("2d");
    const style = theme();
    const strip = this.#strip.width;
    const oldest = newest - width;
    // Sweeping, each sample keeps its place and the newest one runs over the oldest.
    const place = this.sweeping ? (x) => modulo(x, strip) : (x) => x - oldest;
    context.clearRect(0, 0, width, height);
    this.#under(context, style, oldest, newest, place);
    if (this.sweeping) {
      context.drawImage(this.#strip, 0, 0);
    } else {
      const at = modulo(oldest, strip);
      const part = Math.min(width, strip - at);
      context.drawImage(this.#strip, at, 0, part, height, 0, 0, part, height);
      if (part < width) context.drawImage(this.#strip, 0, 0, width - part, height, part, 0, width - part, height);
    }
    this.#over(context, style, oldest, newest, place, ratio);
  }

  #under(context, style, oldest, newest, place) {
    const { width, height, ratio } = this.#size;
    context.fillStyle = style.grid;
    for (let c = 1; c < this.#n; c++) context.fillRect(0, Math.round((c * height) / this.#n), width, ratio);
    const second = this.#x(this.#rate);
    for (let s = Math.ceil(oldest / second); s * second <= newest; s++) {
      context.fillRect(Math.round(place(s * second)), 0, ratio, height);
    }
    context.fillStyle = hatch(context, style.hatch, ratio);
    for (const [start, stop] of this.spans) {
      const from = Math.max(oldest, this.#x(start));
      const to = Math.min(newest, this.#x(stop));
      if (to > from) context.fillRect(Math.round(place(from)), 0, Math.round(to - from), height);
    }
  }

  #over(context, style, oldest, newest, place, ratio) {
    context.font = `${12 * ratio}px ${style.font}`;
    context.textBaseline = "top";
    const label = (text, x, y) => {
      const wide = context.measureText(text).width;
      context.fillStyle = style.plate;
      context.fillRect(x - 3 * ratio, y - 2 * ratio, wide + 6 * ratio, 17 * ratio);
      context.fillStyle = style.ink;
      context.fillText(text, x, y);
    };
    for (const [start, stop, reason] of this.spans) {
      const from = Math.max(oldest, this.#x(start));
      const wide = Math.min(newest, this.#x(stop)) - from;
      if (reason && wide > context.measureText(reason).width + 12 * ratio) label(reason, place(from) + 6 * ratio, 5 * ratio);
    }
    for (const [sample, text] of this.markers) {
      const x = this.#x(sample);
      if (x < oldest || x > newest) continue;
      context.fillStyle = style.ink;
      context.fillRect(Math.round(place(x)), 0, ratio, this.#size.height);
      label(text.length > 24 ? `${text.slice(0, 23)}…` : text, place(x) + 6 * ratio, this.#size.height - 18 * ratio);
    }
    if (this.sweeping) {
      context.fillStyle = style.soft;
      context.fillRect(Math.round(place(newest)) + 4 * ratio, 0, 2 * ratio, this.#size.height);
    }
  }
}
