"use strict";
// Figures are drawn when they come near the screen: a page of thirty shows its first within two seconds.
const NARROW = 700, LETTER = 6.6, LINE = 17;

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), letter => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const started = (async () => {
  const script = document.createElement("script");
  script.textContent = await unpacked("plotly");
  document.head.append(script);
})();

// Text in lines of at most so many letters. Plotly breaks lines at <br>; what looks like a tag stays whole.
function wrapped(text, letters) {
  const lines = [""];
  for (const word of text.replaceAll("<br>", " <br> ").split(/ +/)) {
    if (word === "<br>") lines.push("");
    else if (lines.at(-1) && lines.at(-1).length + word.length >= letters) lines.push(word);
    else lines[lines.length - 1] += (lines.at(-1) && " ") + word;
  }
  return lines.map(line => line.trim()).join("<br>");
}

const axes = (layout, letter) => Object.keys(layout).filter(name => new RegExp(`^${letter}axis\\d*$`).test(name));
const plain = text => new DOMParser().parseFromString(text, "text/html").body.textContent;
const lines = text => text.split("<br>").length;

// Layout of a figure at a width. Panel titles are wrapped; on a narrow screen legends stand above their panels. What needs room
// above a panel gets it: everything higher moves up.
function fitted(figure, width) {
  const layout = structuredClone(figure.layout), narrow = width < NARROW;
  const bars = figure.data.some(trace => trace.showscale !== false && ["heatmap", "contour"].includes(trace.type))
    || Object.keys(layout).some(name => name.startsWith("coloraxis")) || figure.data.some(trace => trace.marker?.showscale);
  const steps = axes(layout, "x").some(name => layout[name].title?.text?.startsWith("step"));
  const names = Object.fromEntries(figure.data.filter(trace => trace.showlegend !== false && trace.name)
    .map(trace => [trace.legend ?? "legend", []]));
  for (const trace of figure.data) if (trace.showlegend !== false && trace.name) names[trace.legend ?? "legend"].push(trace.name);
  const margin = {l: narrow ? 58 : 78, r: narrow ? (bars || steps ? 64 : 14) : 200, t: narrow ? 40 : 58, b: 52, autoexpand: false};
  const inside = layout.height - (layout.margin.t + layout.margin.b), across = width - margin.l - margin.r;
  const tops = [...new Set(axes(layout, "y").map(name => layout[name].domain?.[1] ?? 1))].sort((a, b) => a - b);
  const columns = Math.max(1, axes(layout, "y").length / tops.length), room = new Map(tops.map(top => [top, 0]));
  const near = y => tops.find(top => Math.abs(top - y) < 1e-6);

  for (const legend of Object.keys(layout).filter(name => /^legend\d*$/.test(name))) {
    const here = layout[legend], entries = names[legend] ?? [], top = near(here.y);
    if (!narrow || !entries.length || top === undefined) continue;
    const perRow = Math.max(1, Math.floor(across / (54 + LETTER * Math.max(...entries.map(name => name.length)))));
    const height = 21 * Math.ceil(entries.length / perRow) + 6;
    Object.assign(here, {orientation: "h", x: 0, xanchor: "left", yanchor: "bottom", entrywidthmode: "pixels",
      entrywidth: Math.min(across - 54, LETTER * Math.max(...entries.map(name => name.length)) + 6), font: {size: 11}});
    room.set(top, room.get(top) + height);
  }
  const titles = (layout.annotations ?? []).filter(each => each.yref === "paper" && each.yanchor === "bottom" && near(each.y) !== undefined);
  for (const title of titles) {
    title.yshift = room.get(near(title.y)) + (title.yshift ?? 0);
    title.text = wrapped(title.text, Math.floor((across / columns + (columns === 1 && !narrow ? margin.r : 0)) / LETTER));
    title.align = "left";
  }
  for (const top of tops) {
    const heights = titles.filter(title => near(title.y) === top).map(title => LINE * (lines(title.text) - 1));
    room.set(top, room.get(top) + Math.max(0, ...heights));
  }
  // Pixels from the foot at which what was at a share y of the height now stands.
  const foot = y => y * inside + tops.filter(top => top < y - 1e-6).reduce((sum, top) => sum + room.get(top), 0);
  const total = foot(1), at = y => foot(y) / total;
  for (const name of axes(layout, "y")) layout[name].domain = (layout[name].domain ?? [0, 1]).map(at);
  for (const each of layout.annotations ?? []) if (each.yref === "paper") each.y = at(each.y);
  for (const name of Object.keys(layout).filter(name => /^legend\d*$/.test(name))) layout[name].y = at(layout[name].y ?? 1);
  const bar = each => { if (narrow && each?.title) each.title.text = "";
    if (each?.len) { const [low, high] = [each.y - each.len / 2, each.y + each.len / 2].map(at);
    Object.assign(each, {y: (low + high) / 2, len: high - low}); } };
  for (const name of Object.keys(layout).filter(name => name.startsWith("coloraxis"))) bar(layout[name].colorbar);
  const data = figure.data.map(trace => {
    const copy = {...trace};
    if (copy.colorbar) bar(copy.colorbar = structuredClone(copy.colorbar));
    if (copy.name && !narrow) copy.name = wrapped(copy.name, 22);
    return copy;
  });
  for (const each of layout.annotations ?? []) if (each.xref === "paper" && each.x > 1 && narrow)
    Object.assign(each, {x: 1, xanchor: "right", yshift: 9, bgcolor: "rgba(255,255,255,.7)"});
  margin.t += room.get(tops.at(-1)) ?? 0;
  delete layout.updatemenus; delete layout.sliders;
  return {data, layout: {...layout, margin, width, height: total + margin.t + margin.b, autosize: false}};
}

const figures = new Map();

// Buttons and slider of a figure as those of the page. Nothing plays unless it is told to.
function controls(box, plot, layout) {
  const place = box.querySelector(".controls");
  for (const choice of (layout.updatemenus ?? []).flatMap(menu => menu.buttons)) {
    if (choice.method !== "relayout") continue;
    const button = Object.assign(document.createElement("button"), {textContent: choice.label, type: "button"});
    button.onclick = () => { for (const [other, kept] of figures) if (kept.scales) scale(other, kept, choice.label); };
    place.append(button);
  }
  const slider = (layout.sliders ?? [])[0];
  if (!slider) return;
  const range = Object.assign(document.createElement("input"), {type: "range", min: 0, max: slider.steps.length - 1, value: slider.active});
  const told = document.createElement("span"), play = Object.assign(document.createElement("button"), {textContent: "▶ play", type: "button"});
  const show = () => { told.textContent = plain(slider.steps[range.value].label);
    return Plotly.animate(plot, slider.steps[range.value].args[0], {mode: "immediate", frame: {duration: 0, redraw: true}, transition: {duration: 0}}); };
  range.setAttribute("aria-label", "frame");
  range.oninput = show;
  let timer = 0;
  play.onclick = () => {
    if (timer) { clearInterval(timer); timer = 0; play.textContent = "▶ play"; return; }
    if (+range.value === +range.max) range.value = 0;
    play.textContent = "❚❚ stop";
    timer = setInterval(() => { if (+range.value >= +range.max) play.click(); else { range.value++; show(); } }, 180);
  };
  told.textContent = plain(slider.steps[slider.active].label);
  place.append(play, range, told);
}

function scale(plot, kept, label) {
  const choice = kept.figure.layout.updatemenus.flatMap(menu => menu.buttons).find(each => each.label === label);
  if (choice) { kept.scale = choice.args[0]; Plotly.relayout(plot, kept.scale); }
}

async function draw(box) {
  if (box.dataset.drawn) return;
  box.dataset.drawn = "yes";
  const [text] = await Promise.all([unpacked(box.dataset.figure), started]);
  const figure = JSON.parse(text), plot = box.querySelector(".plot"), width = box.clientWidth;
  const {data, layout} = fitted(figure, width);
  plot.style.height = "";
  await Plotly.newPlot(plot, data, layout, {displaylogo: false, responsive: false, displayModeBar: width >= NARROW});
  if (figure.frames) await Plotly.addFrames(plot, figure.frames);
  figures.set(plot, {figure, width, scales: (figure.layout.updatemenus ?? []).some(menu => menu.buttons.some(each => each.method === "relayout"))});
  controls(box, plot, figure.layout);
  box.dataset.drawn = "done";
}

function refit() {
  for (const [plot, kept] of figures) {
    const width = plot.parentElement.clientWidth;
    if (Math.abs(width - kept.width) < 2) continue;
    kept.width = width;
    const {data, layout} = fitted(kept.figure, width);
    Plotly.react(plot, data, layout).then(() => kept.scale && Plotly.relayout(plot, kept.scale));
  }
}

// A click on a heading sorts the rows by that column; a second one turns them round. What is no number comes last.
function sortable(table) {
  const body = table.tBodies[0], number = text => parseFloat(text.replaceAll(",", "").replace("−", "-"));
  table.tHead?.querySelectorAll("th").forEach((head, column) => head.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending", sign = down ? -1 : 1;
    table.querySelectorAll("thead th").forEach(each => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const order = [...body.rows].map(row => [row, row.cells[column].textContent.trim()]);
    order.sort(([, a], [, b]) => {
      const [x, y] = [number(a), number(b)];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || sign * a.localeCompare(b);
      return sign * (x - y);
    });
    body.append(...order.map(([row]) => row));
  }));
}

async function copy(button) {
  const table = button.closest("details, section").querySelector("table");
  const text = [...table.rows].map(row => [...row.cells].map(each => each.textContent.trim()).join("\t")).join("\n");
  try { await navigator.clipboard.writeText(text); }
  catch {  // a browser that has none for files
    const area = Object.assign(document.createElement("textarea"), {value: text});
    document.body.append(area); area.select(); document.execCommand("copy"); area.remove();
  }
  button.textContent = "copied";
  setTimeout(() => button.textContent = "copy", 1500);
}

document.addEventListener("DOMContentLoaded", () => {
  const boxes = [...document.querySelectorAll("figure[data-figure]")];
  const near = new IntersectionObserver(seen => seen.forEach(each => each.isIntersecting && draw(each.target)), {rootMargin: "500px"});
  boxes.forEach(box => near.observe(box));
  addEventListener("beforeprint", () => boxes.forEach(draw));
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(refit, 150); });
  document.querySelectorAll(".numbers table").forEach(sortable);
  document.querySelectorAll("button.copy").forEach(button => button.addEventListener("click", () => copy(button)));
  const links = new Map([...document.querySelectorAll("nav a")].map(link => [link.hash.slice(1), link]));
  const place = new IntersectionObserver(seen => seen.forEach(each => {
    if (each.isIntersecting) links.forEach((link, key) => link.classList.toggle("here", key === each.target.id));
  }), {rootMargin: "-10% 0px -80% 0px"});
  document.querySelectorAll("section[id]").forEach(section => place.observe(section));
  // A link leads into what is folded, too.
  const open = () => document.getElementById(decodeURIComponent(location.hash.slice(1)))?.closest("details")?.setAttribute("open", "");
  addEventListener("hashchange", open);
  open();
});
