// The dashboard: numbers come as server-sent events from /events, and are written as text, never as HTML.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const KEPT = 120;  // points of a sparkline: two minutes
const history = {};
let before = null;

const at = (id) => document.getElementById(id);
const write = (id, text) => { at(id).textContent = text; };
const whole = (value) => value == null ? "?" : Math.round(value).toLocaleString("en");

function short(value) {
  for (const [size, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return (value / size).toPrecision(3) + " " + unit;
  }
  return value >= 10 || value === 0 ? Math.round(value).toString() : value.toPrecision(2);
}

// Three digits without zeros at the end, and no exponent.
const digits = (value) => String(Number(value.toPrecision(3)));

function seconds(value) {
  if (value == null) return "> 10 s";
  if (value === 0) return "0 s";
  if (value < 0.001) return digits(value * 1e6) + " µs";
  if (value < 1) return digits(value * 1e3) + " ms";
  if (value < 120) return digits(value) + " s";
  if (value < 7200) return Math.round(value / 60) + " min";
  return value < 172800 ? Math.round(value / 3600) + " h" : Math.round(value / 86400) + " d";
}

function rows(id, list) {
  const body = at(id).tBodies[0];
  body.replaceChildren(...list.map((cells) => {
    const row = document.createElement("tr");
    for (const cell of cells) {
      const td = document.createElement("td");
      td.textContent = cell.text ?? cell;
      if (typeof cell === "object") td.className = cell.as;
      row.append(td);
    }
    return row;
  }));
}

const number = (text, more = "") => ({ text: typeof text === "number" || text == null ? whole(text) : text, as: ("n " + more).trim() });

function spark(name, value) {
  const points = history[name] ??= [];
  points.push(value);
  if (points.length > KEPT) points.shift();
  const svg = at("spark-" + name), most = Math.max(...points, 1e-9);
  svg.setAttribute("viewBox", `0 0 ${KEPT - 1} 28`);
  svg.setAttribute("preserveAspectRatio", "none");
  const line = document.createElementNS(SVG, "polyline");
  const from = KEPT - points.length;
  line.setAttribute("points", points.map((each, n) => `${from + n},${27 - 26 * each / most}`).join(" "));
  svg.replaceChildren(line);
}

function bars(handler) {
  if (!handler) return;
  write("handler-told", `mean ${seconds(handler.mean)}, half within ${seconds(handler.p50)}, 99 % within ${seconds(handler.p99)}`);
  const most = Math.max(...handler.counts, 1), cells = [];
  handler.counts.forEach((count, n) => {
    if (!count) return;
    const label = document.createElement("span"), svg = document.createElementNS(SVG, "svg");
    label.textContent = n < handler.bounds.length ? "≤ " + seconds(handler.bounds[n]) : "> " + seconds(handler.bounds[n - 1]);
    const rect = document.createElementNS(SVG, "rect"), told = document.createElement("span");
    rect.setAttribute("height", "100%");
    rect.setAttribute("width", Math.max(0.5, 100 * count / most) + "%");
    svg.append(rect);
    told.textContent = whole(count);
    told.className = "n";
    cells.push(label, svg, told);
  });
  at("handler").replaceChildren(...cells);
}

function state(name) {
  const badge = at("state");
  badge.textContent = name;
  badge.className = "badge " + name;
}

function show(now) {
  const status = now.status, listed = status.services;
  const open = listed.reduce((sum, each) => sum + each.connections, 0);
  const since = before ? now.now - before.now : 0;
  const per = (name) => since > 0 ? Math.max(0, now.totals[name] - before.totals[name]) / since : 0;
  document.title = `${status.name} – fourtuple`;
  write("name", status.name);
  state(status.state);
  write("about", `fourtuple ${status.version}, pid ${status.pid}, up ${seconds(Date.now() / 1000 - status.started)}`);
  write("connections", whole(open));
  spark("connections", open);
  for (const name of ["received", "sent", "accepted"]) {
    write(name, short(per(name)) + (name === "accepted" ? "/s" : " msg/s"));
    spark(name, per(name));
  }
  write("octets", `${short(per("octets_in"))} / ${short(per("octets_out"))}`);
  spark("octets", per("octets_in") + per("octets_out"));
  write("hold", seconds(now.longest_hold));
  write("lag", now.lag ? `timers: 99 % within ${seconds(now.lag.p99)}` : "");
  rows("queues", status.listeners.map((each) => [
    each.address, each.service,
    number(each.accept_queue, each.backlog != null && each.accept_queue > each.backlog ? "full" : ""),
    number(each.backlog), number(each.drops, each.drops ? "full" : ""),
    each.paused.length ? "paused: " + each.paused.join(", ") : "open",
  ]));
  rows("services", listed.map((each) => [
    each.name, each.framing, each.state, number(each.connections), number(each.max_connections),
    number(each.totals.messages_in), number(each.totals.messages_out),
  ]));
  at("workers-section").hidden = !status.workers.length;
  rows("workers", status.workers.map((each) => [
    number(each.slot), number(each.pid == null ? "–" : String(each.pid)), each.state, number(each.connections),
    number(each.started == null ? "–" : seconds(Date.now() / 1000 - each.started)),
  ]));
  bars(now.handler);
  const reasons = [
    ...Object.entries(now.refused).map(([name, count]) => ["refused: " + name, count]),
    ...Object.entries(now.closed).map(([name, count]) => ["ended: " + name, count]),
  ].sort((one, other) => other[1] - one[1]);
  rows("reasons", reasons.map(([name, count]) => [name, number(count)]));
  before = now;
}

const source = new EventSource("/events");
source.onmessage = (event) => { show(JSON.parse(event.data)); document.body.dataset.seen = "yes"; };
source.onerror = () => { state("lost"); before = null; };
