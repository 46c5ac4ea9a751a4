// The report: tabs of images, comparisons, classes and features, each a list and the view of one entry.
// The live page loads this file too, and adds tabs of its own before it calls `start`.
"use strict";
const view = document.getElementById("view"), list = document.getElementById("list"), filter = document.getElementById("filter");
const state = { tab: null, entry: {}, coverage: 0, image: null };
const LISTED = 400; // entries shown at once; the filter finds the others

const tabs = {
  Images: {
    entries: () => report.images.map(image => ({ name: image.name, detail: className(image.predicted), src: report.pictures[image.subject].src })),
    show(i) {
      const image = report.images[i];
      state.image = image;
      view.replaceChildren(make("h2", {}, headline(image)), heatmaps(image), note(), make("h2", {}, "Prediction set"), ...predictionSet(), ...treePlace(image));
      setCoverage(state.coverage);
    },
  },
  Comparisons: {
    entries: () => report.comparisons.map(comparison => ({ name: comparison.classes.map(className).join(" – ") })),
    show(i) { view.replaceChildren(...comparison(report.comparisons[i])); },
  },
  Classes: {
    entries: () => report.classes.some((_, i) => report.pictures[`class${i}`]) ? report.classes.map((c, i) => ({ name: c.name, src: (report.pictures[`class${i}`] || {}).src })) : [],
    show(i) {
      const own = report.classes[i];
      const related = report.classes.map((other, c) => [c, other.features.filter(f => own.features.includes(f)).length]).filter(([c, shared]) => c !== i && shared).sort((a, b) => b[1] - a[1]);
      view.replaceChildren(make("h2", {}, own.name), grid([classRow(i)], own.features, own.colours), note(), make("h2", {}, "Classes that share features"),
        make("div", { class: "links" }, ...related.map(([c, shared]) => make("button", { onclick: () => open_("Classes", c) }, className(c), " ", make("small", {}, `${shared} shared`)))));
    },
  },
  Features: {
    entries: () => report.features.map((feature, f) => ({ name: `Feature ${f} (${feature.classes.length} classes)` })),
    show(f) {
      const feature = report.features[f];
      view.replaceChildren(make("h2", {}, `Feature ${f}`), ...(feature.usualPart ? [make("p", {}, `Where its peak lies most often on test images: ${feature.usualPart}`)] : []), make("p", { class: "note" }, "Strongest training patches"),
        make("div", { class: "patches" }, ...feature.patches.map(patch => make("figure", {}, make("img", { src: patch.src, alt: className(patch.class) }), make("figcaption", {}, className(patch.class))))),
        make("h2", {}, `Classes with feature ${f}`),
        make("div", { class: "links", id: "feature-classes" }, ...feature.classes.map(c => make("button", { onclick: () => open_("Classes", c) }, className(c) + (signed ? (weightOf(c, f) > 0 ? " +" : " −") : "")))),
        make("div", { class: "spaced" }, grid(feature.classes.slice(0, 12).map(classRow), [f], { [f]: feature.colour })));
    },
  },
};
let coverageChanged = () => {}; // what a page adds to a move of the slider
let names = [], stops = []; // tabs with entries; runs of coverages with the same level of the hierarchy

function headline(image) {
  const truth = image.label === null ? "" : image.label === image.predicted ? " (correct)" : `; true class: ${className(image.label)}`;
  return `${image.name}: predicted ${className(image.predicted)}, ${percent(image.probability)} by softmax${truth}`;
}
// The image beside the classes most like its prediction
function heatmaps(image) {
  const shown = image.nearest.filter(c => report.pictures[`class${c}`]);
  const rows = [{ name: "this image", subject: image.subject, class: image.predicted, bold: true }, ...shown.map(classRow)];
  return grid(rows, image.columns, image.colours);
}
const treePlace = image => [make("div", { id: "tree-place", class: "scrolls", tabindex: 0, role: "region", "aria-label": "Tree" }),
  ...(image.trees.length ? [make("p", { class: "note" }, "Features from left to right by their activation: the larger a circle, the more active; grey, if it has no heatmap here. Thick branches: the prediction set. Bold: the prediction.")] : [])];
// The slider of coverages and the set of `state.image`, which `setCoverage` fills in
function predictionSet() {
  const slider = make("input", { type: "range", id: "coverage", min: 0, max: report.coverages.length - 1, list: "stops", "aria-label": "Coverage", oninput: event => setCoverage(+event.target.value) });
  slider.value = state.coverage;
  return [make("div", { class: "coverage" }, make("label", { for: "coverage" }, "Coverage"), slider, make("output", { id: "shown-coverage", for: "coverage" }), make("datalist", { id: "stops" }, ...stops.map(stop => make("option", { value: stop.last })))),
    make("div", { class: "levels", id: "levels" }, ...stops.map(stop => make("button", { "data-level": stop.level, onclick: () => setCoverage(stop.last) }, `${stop.level ? `first ${stop.level === 1 ? "feature" : `${stop.level} features`} shared: ` : "no feature shared: "}${range(stop)}`))),
    make("p", { class: "summary", id: "set", "aria-live": "polite" })];
}
function range(stop) {
  const ends = [stop.first, stop.last].map(i => percent(report.coverages[i]));
  return [...new Set(ends)].join("–");
}
function setCoverage(position) {
  state.coverage = Math.min(Math.max(position, 0), report.coverages.length - 1);
  const image = state.image, at = image.setOfCoverage[state.coverage], set = image.sets[at];
  document.getElementById("coverage").value = state.coverage;
  document.getElementById("shown-coverage").textContent = percent(report.coverages[state.coverage]);
  for (const button of document.querySelectorAll("#levels button")) button.setAttribute("aria-pressed", +button.dataset.level === report.levels[state.coverage]);
  const summary = document.getElementById("set"), shown = set.slice(0, 12).map(className).join(", ");
  summary.textContent = `${set.length} ${set.length === 1 ? "class" : "classes"}${shown ? ": " : ""}${shown}${set.length > 12 ? `, and ${set.length - 12} more` : ""}`;
  document.getElementById("tree-place").replaceChildren(...image.trees.slice(at, at + 1).map(drawn => tree(image, drawn)));
  coverageChanged();
}
function comparison({ classes, columns, colours, marks = {}, rightPart, trust }) {
  const shared = columns.filter(f => classes.every(c => weightOf(c, f)));
  return [make("h2", {}, `${classes.map(className).join(" – ")}: ${shared.length} shared features`), grid(classes.map(c => ({ ...classRow(c), marks: marks[c] })), columns, colours), note(rightPart), ...(trust ? [make("p", { class: "summary" }, trust)] : []),
    make("div", { class: "links" }, ...classes.map(c => make("button", { onclick: () => open_("Classes", c) }, className(c))))];
}
function open_(tab, entry = state.entry[tab] || 0) {
  if (!names.includes(tab)) return;
  if (tab !== state.tab) filter.value = "";
  state.tab = tab;
  state.entry[tab] = entry;
  light(null);
  for (const button of document.querySelectorAll("#tabs button")) button.setAttribute("aria-selected", button.textContent === tab);
  fillList();
  tabs[tab].show(entry);
}
function visibleEntries() {
  const wanted = filter.value.toLowerCase();
  return tabs[state.tab].entries().map((entry, i) => ({ i, ...entry })).filter(entry => `${entry.name} ${entry.detail || ""}`.toLowerCase().includes(wanted));
}
function fillList() {
  const current = state.entry[state.tab], entries = visibleEntries();
  list.replaceChildren(...entries.slice(0, LISTED).map(entry => make("li", {}, make("button", { "aria-current": entry.i === current, onclick: () => open_(state.tab, entry.i) }, entry.src ? make("img", { src: entry.src, alt: "" }) : null, make("span", {}, entry.name, entry.detail ? make("small", {}, entry.detail) : null)))));
  if (entries.length > LISTED) list.append(make("li", { class: "note" }, `and ${entries.length - LISTED} more: filter by name`));
  const button = list.querySelector("[aria-current=true]");
  if (button) list.scrollTop = button.offsetTop - list.offsetTop - list.clientHeight / 2;
}
function light(feature) {
  if (feature === null) delete document.body.dataset.lit; else document.body.dataset.lit = feature;
  for (const element of document.querySelectorAll("[data-feature]")) element.classList.toggle("lit", element.dataset.feature === feature);
}
for (const [on, off] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
  document.addEventListener(on, event => { const target = event.target.closest("[data-feature]"); if (target) light(target.dataset.feature); });
  document.addEventListener(off, event => { if (event.target.closest("[data-feature]")) light(null); });
}
document.addEventListener("keydown", event => {
  if (event.target === filter && event.key === "Escape") { filter.value = ""; fillList(); filter.blur(); return; }
  if (event.target.matches("input:not([type=range]):not([type=checkbox]), select, canvas") || event.ctrlKey || event.metaKey || event.altKey) return;
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key], cover = { ArrowUp: 1, ArrowDown: -1 }[event.key];
  const onSlider = event.target.matches("input[type=range]"), onTab = event.target.matches("[role=tab]");
  if (move && onTab) {
    const next = names[(names.indexOf(state.tab) + move + names.length) % names.length];
    open_(next);
    document.getElementById(`tab-${names.indexOf(next)}`).focus();
  } else if (move && !onSlider) {
    const entries = visibleEntries(), at = entries.findIndex(entry => entry.i === state.entry[state.tab]);
    const next = entries[Math.min(Math.max(at + move, 0), entries.length - 1)];
    if (next) open_(state.tab, next.i);
  } else if (cover && !onSlider && document.getElementById("coverage")) setCoverage(state.coverage + cover);
  else if (names[+event.key - 1]) open_(names[+event.key - 1]);
  else if (event.key === "/") filter.focus();
  else return;
  event.preventDefault();
});
filter.addEventListener("input", fillList);

function start(data) {
  report = data;
  signed = report.classes.some(c => c.weights.some(w => w < 0));
  names = Object.keys(tabs).filter(name => tabs[name].entries().length);
  report.levels.forEach((level, i) => { const last = stops[stops.length - 1]; if (last && last.level === level) last.last = i; else stops.push({ level, first: i, last: i }); });
  document.title = document.getElementById("title").textContent = report.title;
  document.getElementById("tabs").append(...names.map((name, i) => make("button", { role: "tab", id: `tab-${i}`, "aria-controls": "view", onclick: () => open_(name) }, name)));
  document.getElementById("last-tab").textContent = names.length;
  if (!report.coverages.length) document.getElementById("coverage-keys").remove();
  if (names.length < 2) document.getElementById("tab-keys").remove();
  if (!names.includes("Features")) document.getElementById("feature-pages").remove();
  state.coverage = Math.max(0, report.coverages.findIndex(c => c >= report.startCoverage));
  open_(names[0]);
}
