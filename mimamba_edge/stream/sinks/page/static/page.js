// The page of a stream. Names come from outside: they only ever become text.

import { fit } from "./canvas.js";
import { drawCurves, drawHistogram, spread } from "./charts.js";
import { followPause, followTheme } from "./controls.js";
import { Eeg } from "./eeg.js";
import { Link } from "./link.js";

const CURVES_S = [15, 30, 60]; // As much as there is to show, no more than the last.
const SAY_MS = 3000;
const STATES = {
  waiting: ["no signal yet", ""],
  running: ["running", "on"],
  silent: ["silent", "bad"],
  disconnected: ["disconnected", "bad"],
  ended: ["ended", ""],
  failed: ["failed", "bad"],
};
const AWAY = {
  silent: "the source is silent",
  disconnected: "the device is disconnected",
  ended: "the signal has ended",
  failed: "the source has failed",
};
const VERDICTS = { railed: ["railed", "no signal"], flat: ["no signal"] }; // What is said of the channels to blame.
const FAULTS = { railed: "at the limit of the amplifier", flat: "without a signal" };
const REASONS = {
  settling: "filters settle after a start or a gap",
  gap: "samples are missing",
  railed: "a channel at the limit of the amplifier",
  flat: "a channel without a signal",
};
const SHORT = { settling: "filters settle", gap: "samples missing", railed: "channel at its limit", flat: "channel without signal" };

const $ = (id) => document.getElementById(id);
const set = (node, text) => {
  if (node.textContent !== text) node.textContent = text;
};
const make = (tag, text = "", className = "") => {
  const node = document.createElement(tag);
  node.textContent = text;
  if (className) node.className = className;
  return node;
};
const number = (value) => (value === null || value === undefined ? "–" : value.toLocaleString("en"));
const ms = (value) =>
  value.toLocaleString("en", value < 99.5 ? { minimumSignificantDigits: 2, maximumSignificantDigits: 2 } : { maximumFractionDigits: 0 });
const clock = (date) => date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
const percent = (p) => (p > 0.995 ? "> 99 %" : p < 0.005 ? "< 1 %" : `${Math.round(100 * p)} %`);

const eeg = new Eeg($("traces"));
eeg.onscale = (uv, share) => {
  set($("bar").firstChild, `${number(uv)} µV`);
  const lane = 100 / info.channels.length;
  $("bar").style.height = `${100 * share}%`;
  $("bar").style.top = `${(lane - 100 * share) / 2}%`;
};
let info = null;
let decisions = [];
let verdicts = []; // Of each channel: good, or what is wrong with it.
let latency = null;
let status = null;
let linkState = "connecting";
let heardAt = new Date();
let told = "";
let toldAt = 0;

/* ---------- what the server says ---------- */

const link = new Link({
  state(name) {
    linkState = name;
    showBanner();
  },
  signal(channels, start, values) {
    heardAt = new Date();
    if (info && channels === info.channels.length) eeg.write(start, values);
  },
  text(message) {
    heardAt = new Date();
    ({ hello, decisions: take, notices, overview, status: count })[message.type]?.(message);
  },
});

function hello(message) {
  info = message;
  decisions = [];
  latency = status = null;
  verdicts = [];
  $("eeg").style.setProperty("--n", info.channels.length);
  eeg.reset(info.channels.length, info.sfreq, info.keep_s);
  set($("name"), info.streams[info.stream]);
  $("name").title = info.streams[info.stream];
  document.title = `${info.streams[info.stream]} – mimamba-edge`;
  for (const id of ["channels", "quality"]) {
    $(id).replaceChildren(
      ...info.channels.map((name) => {
        const row = make("li");
        row.title = name;
        row.append(make("b", name, id === "quality" ? "unseen" : ""), make("span"));
        return row;
      }),
    );
  }
  $("ends").replaceChildren(
    ...info.classes.map((name, i) => {
      const row = make("li");
      const first = make("b", name);
      first.title = name;
      const line = make("i");
      line.style.color = `var(--c${i % 8})`;
      row.append(line, first, make("span"));
      return row;
    }),
  );
  $("log").replaceChildren();
  $("log").hidden = true;
  showTiles();
  showAxis();
  showDecision();
  showFacts();
  showCounters();
  showLatency();
  showCurves();
}

function take(message) {
  for (const [, start, stop, label, probs, reason] of message.items) {
    const before = decisions.at(-1)?.stop ?? stop - info.hop;
    decisions.push({ start, stop, label, probs, reason });
    // Where nothing was said at all, as deep inside a long gap, there was no decision either.
    if (stop - before > info.hop) shade(before, stop - info.hop, reason ?? "");
    if (reason !== null) shade(stop - info.hop, stop, reason);
  }
  const newest = decisions.at(-1);
  const oldest = newest.stop - (CURVES_S.at(-1) + 2) * info.sfreq;
  decisions = decisions.filter((d) => d.stop > oldest && d.stop <= newest.stop);
  eeg.spans = eeg.spans.filter((span) => span[1] > oldest);
  if (message.quality) showQuality(message.quality);
  showDecision();
  showCurves();
}

function shade(start, stop, why) {
  const reason = SHORT[why] ?? why;
  const last = eeg.spans.at(-1);
  if (last && last[2] === reason && start <= last[1]) last[1] = Math.max(last[1], stop);
  else eeg.spans.push([start, stop, reason]);
}

function notices(message) {
  for (const [at, kind, text, n, sample] of message.items) {
    if (kind === "marker") {
      eeg.markers.push([(sample / info.source_sfreq) * info.sfreq, text]);
      if (eeg.markers.length > 50) eeg.markers.shift();
      continue; // Both pictures show it; the list is for what went wrong.
    }
    const row = make("li");
    const what = [kind, text, n ? `${number(n)} samples` : ""].filter(Boolean).join(": ");
    row.append(make("time", clock(new Date(at * 1000))), make("span", what));
    row.lastChild.title = what;
    $("log").prepend(row);
  }
  while ($("log").children.length > 3) $("log").lastChild.remove();
  $("log").hidden = !$("log").children.length;
}

function overview(message) {
  if (!info || info.streams.length < 2) return;
  [...$("streams").children].forEach((tile, i) => {
    const [state, label, top, reason] = message.streams[i];
    const text = state !== "running" ? STATES[state]?.[0] ?? state : label ?? reason ?? "–";
    tile.classList.toggle("none", state !== "running" || label === null);
    tile.querySelector(".sign").className = `sign chip ${STATES[state]?.[1] ?? ""}`;
    set(tile.querySelector("b"), text);
    set(tile.querySelector(".much"), state === "running" && top !== null ? percent(top) : "");
  });
}

function count(message) {
  status = message;
  latency = message.latency;
  showDecision();
  showCounters();
  showLatency();
  showFacts();
  showBanner();
}

/* ---------- what is shown ---------- */

function chip(id, text, className) {
  set($(id).querySelector("span"), text);
  $(id).className = `chip ${className}`;
  $(id).hidden = false;
}

function showBanner() {
  const since = clock(heardAt);
  const lost = {
    connecting: ["Connecting …", ""],
    lost: [info ? `The server does not answer. What is shown is of ${since}; trying again …` : "The server does not answer; trying again …", "bad"],
    ended: [`The stream ended at ${since}. What is shown is its last state.`, ""],
    token: ["This page needs its token: open the address that was printed when the stream began.", "bad"],
    full: ["Too many pages are open. Close one; trying again …", "bad"],
  }[linkState];
  const state = status?.state;
  const source = info ? info.streams[info.stream] : "";
  const signal = {
    waiting: [`No signal yet: waiting for ${source}.`, ""],
    silent: [`No samples for ${Math.round(status?.silent_s ?? 0)} s. What is shown is old.`, "bad"],
    disconnected: ["The device is disconnected; waiting for it to come back. What is shown is old.", "bad"],
    ended: ["The signal has ended. What is shown is its last state.", ""],
    failed: ["The source has failed. What is shown is its last state.", "bad"],
  }[state];
  const [text, className] = lost ?? signal ?? ["", ""];
  $("banner").hidden = !text;
  set($("banner"), text);
  $("banner").className = className;
  const stale = (lost && info !== null) || ["silent", "disconnected", "ended", "failed"].includes(state);
  $("main").classList.toggle("stale", Boolean(stale));
  if (linkState !== "live") {
    chip("state", { connecting: "connecting", ended: "ended" }[linkState] ?? "no connection", linkState === "connecting" || linkState === "ended" ? "" : "bad");
    $("recording").hidden = $("throttled").hidden = true;
    return;
  }
  if (!status) return;
  chip("state", ...(STATES[state] ?? [String(state), ""]));
  chip("recording", status.recording ? "recording" : "not recording", status.recording ? "on rec" : "");
  if (status.throttled.length) chip("throttled", `throttled: ${status.throttled.join(", ")}`, "bad");
  else $("throttled").hidden = true;
}

function showTiles() {
  $("streams").hidden = info.streams.length < 2;
  if ($("streams").children.length !== info.streams.length) {
    $("streams").replaceChildren(
      ...info.streams.map((name, i) => {
        const tile = make("button");
        tile.type = "button";
        tile.addEventListener("click", () => link.open(i));
        const sign = make("i", "", "sign chip");
        sign.append(make("i", "", "mark"));
        sign.setAttribute("aria-hidden", "true");
        tile.append(make("span", "", "who"), sign, make("b", "–"), make("span", "", "much"));
        return tile;
      }),
    );
  }
  [...$("streams").children].forEach((tile, i) => {
    set(tile.querySelector(".who"), info.streams[i]);
    tile.title = info.streams[i];
    if (i === info.stream) tile.setAttribute("aria-current", "true");
    else tile.removeAttribute("aria-current");
  });
}

function showAxis() {
  const n = eeg.seconds;
  const texts = eeg.sweeping ? [`${n} s from left to right`] : [`${n} s ago`, ...(n === 10 ? ["8", "6", "4", "2"] : ["4", "3", "2", "1"]), "now"];
  $("eeg-axis").replaceChildren(...texts.map((text) => make("span", text)));
  if (info) set($("eeg-note"), `filtered, ${number(info.sfreq)} Hz`);
}

function showQuality(quality) {
  for (const id of ["channels", "quality"]) {
    quality.forEach(([verdict, uv], i) => {
      const row = $(id).children[i];
      row.className = verdict === "good" ? "good" : "bad";
      const line = row.lastChild;
      if (!line.children.length) {
        line.append(make("i", "", "mark"), make("em"), make("span", "", "much"));
        line.firstChild.setAttribute("aria-hidden", "true");
      }
      set(line.children[1], verdict);
      set(line.lastChild, uv === null ? "" : `${ms(uv)} µV`);
    });
  }
  verdicts = quality.map(([verdict]) => verdict);
  eeg.poor(verdicts.map((verdict) => verdict !== "good"));
}

function showDecision() {
  const newest = decisions.at(-1) ?? null;
  const away = AWAY[status?.state] ?? null; // What was decided before a silence no longer holds.
  const label = newest && newest.label >= 0 && !away ? info.classes[newest.label] : null;
  $("label").className = label === null ? "none" : "";
  $("confidence").style.visibility = label === null ? "hidden" : "visible";
  let why = "";
  if (label !== null) {
    const p = newest.probs?.[newest.label] ?? null;
    set($("label"), label);
    set($("percent"), p === null ? "–" : percent(p));
    $("fill").style.transform = `scaleX(${p ?? 0})`;
    $("fill").style.setProperty("--class", `var(--c${newest.label % 8})`);
    why = `from the last ${number(info.n_times / info.sfreq)} s of signal, ${number(Math.round(info.sfreq / info.hop))} times a second`;
  } else if (newest === null && !away) {
    set($("label"), "–");
    why = "no window yet";
  } else {
    set($("label"), "No decision");
    const at_fault = verdicts.flatMap((verdict, i) => (VERDICTS[newest?.reason]?.includes(verdict) ? [info.channels[i]] : []));
    why = away ?? (at_fault.length ? `${at_fault.join(", ")} ${FAULTS[newest.reason]}` : REASONS[newest.reason] ?? newest.reason ?? "");
  }
  set($("because"), why);
  $("because").title = why;
  const words = label ?? (newest === null && !away ? "" : `No decision: ${why}`);
  if (words !== told && performance.now() - toldAt > SAY_MS) {
    told = words;
    toldAt = performance.now();
    set($("say"), words);
  }
}

function showCurves() {
  const newest = decisions.at(-1);
  const canvas = $("curves");
  const have = newest ? (newest.stop - decisions[0].stop) / info.sfreq : 0;
  const span = CURVES_S.find((s) => s >= have) ?? CURVES_S.at(-1);
  drawCurves(canvas, decisions, eeg.markers, info.classes.length, info.hop, newest?.stop ?? 0, span * info.sfreq);
  if ($("curves-axis").dataset.span !== String(span)) {
    $("curves-axis").dataset.span = span;
    $("curves-axis").replaceChildren(...[`${span} s ago`, (2 * span) / 3, span / 3, "now"].map((text) => make("span", text)));
  }
  const rows = [...$("ends").children];
  const tall = rows[0].offsetHeight;
  const height = canvas.clientHeight;
  const last = decisions.findLast((d) => d.probs !== null)?.probs ?? null;
  const places = spread(info.classes.map((_, i) => (1 - (last?.[i] ?? 1 - (i + 0.5) / info.classes.length)) * height), tall, height);
  rows.forEach((row, i) => {
    row.style.transform = `translateY(${Math.round(places[i])}px)`;
    set(row.lastChild, newest?.probs ? percent(newest.probs[i]) : "");
  });
}

function showLatency() {
  const figure = (id, value) => {
    $(id).replaceChildren(value === null ? "– " : `${ms(value)} `, make("small", "ms"));
  };
  figure("p50", latency?.p50 ?? null);
  figure("p99", latency?.p99 ?? null);
  figure("delay-ms", info?.delay_ms ?? null);
  set($("latency-note"), latency ? `the last ${number(latency.n)} decisions` : "no decision yet");
  let before = -1;
  const ticks = drawHistogram($("histogram"), latency).filter(([share]) => {
    const apart = share - before > 0.11;
    if (apart) before = share;
    return apart;
  });
  $("histogram-axis").replaceChildren(
    ...ticks.map(([share, text], i) => {
      const tick = make("span", i === ticks.length - 1 ? `${text} ms` : text);
      tick.style.left = `${100 * share}%`;
      return tick;
    }),
  );
}

function showCounters() {
  const c = status?.counters ?? {};
  const undecided = Object.values(status?.no_decision ?? {}).reduce((a, b) => a + b, 0);
  const rows = [
    ["windows", c.windows, false],
    ["decided", c.valid, false],
    ["no decision", status ? undecided : null, false],
    ["dropped", c.dropped, true],
    ["samples", c.samples, false],
    ["missing", status ? c.lost_samples + c.nan_samples : null, true],
    ["gaps", c.gaps === null || c.gaps === undefined ? null : c.gaps + (c.bridged ?? 0), true],
    ["resets", c.resets, true],
  ];
  $("counters").replaceChildren(
    ...rows.map(([name, value, bad]) => {
      const cell = make("div", "", bad && value ? "bad" : "");
      cell.append(make("dt", name), make("dd", number(value)));
      return cell;
    }),
  );
}

function showFacts() {
  if (!info) return;
  const renamed = info.channels.flatMap((name, i) => (info.at_source[i] === name ? [] : [`${name} = ${info.at_source[i]}`]));
  const hash = status?.sha256 ?? info.sha256;
  const rows = [
    ["Model", status?.model ?? info.model, ""],
    ["SHA-256", hash.slice(0, 16), hash],
    ["Mains", info.mains_hz === null ? "no notch" : `notch at ${number(info.mains_hz)} Hz`, ""],
    ["Profile", info.profile ?? "none", ""],
    ...(info.score === null ? [] : [["Accuracy", `${percent(info.score)} on held-out trials`, ""]]),
    ["Source", `${number(info.source_sfreq)} Hz, ${info.live ? "live" : "replayed"}`, ""],
    ...(info.device ? [["Device", info.device, ""]] : []),
    ...(renamed.length ? [["Channels", renamed.join(", "), ""]] : []),
    ...(status?.reloads ? [["Reloaded", number(status.reloads), ""]] : []),
  ];
  $("facts").replaceChildren(
    ...rows.flatMap(([name, value, whole]) => {
      const cell = make("dd", value);
      cell.title = whole || value;
      return [make("dt", name), cell];
    }),
  );
}

/* ---------- what the user does ---------- */

function redraw() {
  fit($("curves"));
  showAxis();
  if (info) showCurves();
  showLatency();
}

followPause(eeg, $("pause"));
followTheme($("theme"), () => {
  eeg.restyle();
  redraw();
});
new ResizeObserver(redraw).observe($("main"));
showCounters();
showBanner();
link.open(0);
