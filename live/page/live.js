// The live page: tabs for a photo and for the map of all classes, beside the report's tabs of classes and features.
// Every answer is the server's; a question carries all it is about, so the server keeps nothing.

const asked = { file: null, test: null, answer: null, crop: null, grey: null, off: [], plain: null, drawing: "crop", other: null, photo: null };
let latest = 0; // number of the last question: an answer that was overtaken is dropped
const inherited = { Classes: tabs.Classes, Features: tabs.Features };
for (const name of Object.keys(tabs)) delete tabs[name];

tabs.Photo = {
  entries: () => report.tests.map((name, i) => ({ name: name, i })),
  show(i) {
    if (i >= 0 && asked.test !== i) return choose({ test: i }, `/api/test/${i}`);
    paintQuestion(); // an own photo has no entry in the list: -1
    if (asked.answer) paintAnswer();
  },
};
tabs["All classes"] = {
  entries: () => report.classes.map((c, i) => ({ name: c.name, src: (report.pictures[`class${i}`] || {}).src })),
  show: showMap,
};
Object.assign(tabs, inherited);

// Asking

async function fetched(address, options) {
  const response = await fetch(address, options);
  const content = await response.json();
  if (!response.ok) throw new Error(content.error);
  return content;
}
function merge(pictures) {
  for (const [subject, picture] of Object.entries(pictures)) {
    const known = subject === "photo" ? {} : report.pictures[subject] || {};
    report.pictures[subject] = { ...picture, heat: { ...known.heat, ...picture.heat }, squares: { ...known.squares, ...picture.squares } };
  }
}
async function ask(path, what = {}) {
  const query = new URLSearchParams();
  if (asked.test !== null) query.set("test", asked.test);
  for (const name of ["crop", "grey"]) if (what[name]) query.set(name, what[name].map(x => x.toFixed(4)).join());
  if (what.off && what.off.length) query.set("off", what.off.join());
  return fetched(`${path}?${query}`, { method: "POST", body: asked.test === null ? asked.file : null });
}
async function answer() {
  const number = ++latest;
  document.body.classList.add("busy");
  try {
    const { crop, grey, off } = asked;
    const got = await ask("/api/answer", { crop, grey, off });
    if (number !== latest) return;
    merge(got.pictures);
    asked.answer = got;
    if (!grey && !off.length) asked.plain = got;
    paintAnswer();
  } catch (error) {
    if (number === latest) complain(error.message);
  } finally {
    if (number === latest) document.body.classList.remove("busy");
  }
}
async function choose(source, address) {
  Object.assign(asked, { file: null, test: null, crop: null, grey: null, off: [], plain: null, answer: null, photo: null, other: null, drawing: "crop" }, source);
  const number = ++latest, picture = new Image();
  paintQuestion();
  picture.src = address;
  const shown = picture.decode().then(() => { if (number <= latest && (asked.file === source.file || asked.test === source.test)) { asked.photo = picture; drawPhoto(); } }, () => null);
  if (asked.file && report.cropped) await propose();
  await Promise.all([answer(), shown]);
}
async function propose() {
  try { asked.crop = (await ask("/api/crop")).crop; drawPhoto(); } catch (error) { complain(error.message); }
}
function take(file) {
  if (!file) return;
  open_("Photo", -1);
  choose({ file }, URL.createObjectURL(file));
}
function complain(text) {
  const place = document.getElementById("answer");
  if (place) place.replaceChildren(make("p", { class: "error", role: "alert" }, `Sorry: ${text}.`));
}

// The question: the photo with its boxes, and the tools

function paintQuestion() {
  const canvas = make("canvas", { id: "photo", width: 320, height: 240, tabindex: 0, role: "img", "aria-label": "The photo. Drag to choose a part; the fields below do the same with the keyboard." });
  const pick = make("input", { type: "file", accept: "image/*", id: "file", onchange: event => take(event.target.files[0]) });
  const mode = (name, text) => make("button", { "data-mode": name, "aria-pressed": asked.drawing === name, onclick: () => { asked.drawing = name; paintQuestion(); if (asked.answer) paintAnswer(); } }, text);
  const drop = make("div", { class: "drop", id: "drop" }, canvas,
    make("div", { class: "tools" }, make("label", { class: "file" }, pick, "Choose a photo"), make("button", { id: "camera", onclick: camera }, "Camera"), make("span", { class: "note" }, "or drop or paste one here")));
  drop.addEventListener("dragover", event => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", event => { event.preventDefault(); take(event.dataTransfer.files[0]); });
  const edge = (name, i) => make("label", {}, name, make("input", { type: "number", min: 0, max: 100, step: 1, id: `edge-${i}`, value: Math.round(100 * (asked[asked.drawing] || [0, 0, 1, 1])[i]), onchange: setEdges }));
  view.replaceChildren(make("div", { class: "ask" },
    make("div", {}, drop,
      make("div", { class: "tools" }, mode("crop", "Crop"), mode("grey", "Grey out"),
        make("button", { id: "whole", onclick: () => setBox(null) }, asked.drawing === "crop" ? "Whole photo" : "Nothing grey"),
        asked.drawing === "crop" ? make("button", { id: "propose", onclick: async () => { await propose(); paintEdges(); answer(); } }, "Propose a crop") : null),
      make("div", { class: "edges" }, ...["left %", "top %", "right %", "bottom %"].map(edge)),
      make("p", { class: "note" }, asked.drawing === "crop" ? "Drag a box around the object." + (report.cropped ? " The model was trained on cropped objects." : "") : "Drag over a part: what would the model say without it?")),
    make("div", { id: "answer", "aria-live": "polite" }, make("p", { class: "note" }, "Looking …"))), make("div", { id: "details" }));
  dragBoxes(canvas);
  drawPhoto();
}
function paintEdges() {
  (asked[asked.drawing] || [0, 0, 1, 1]).forEach((x, i) => { const field = document.getElementById(`edge-${i}`); if (field) field.value = Math.round(100 * x); });
}
function setEdges() {
  const [l, t, r, b] = [0, 1, 2, 3].map(i => Math.min(1, Math.max(0, document.getElementById(`edge-${i}`).value / 100)));
  if (r - l >= 0.02 && b - t >= 0.02) setBox([l, t, r, b]); else complain("the box must be wider and higher than 2 %");
}
function setBox(box) {
  asked[asked.drawing] = box && box.some((x, i) => Math.abs(x - [0, 0, 1, 1][i]) > 0.001) ? box : null;
  if (asked.drawing === "crop") asked.plain = null;
  paintEdges();
  drawPhoto();
  answer();
}
function drawPhoto(rubber = null) {
  const canvas = document.getElementById("photo");
  if (!canvas) return;
  const context = canvas.getContext("2d"), picture = asked.photo;
  if (!picture) { context.clearRect(0, 0, canvas.width, canvas.height); return; }
  const scale = Math.min(1, 800 / Math.max(picture.naturalWidth, picture.naturalHeight));
  canvas.width = Math.max(1, picture.naturalWidth * scale);
  canvas.height = Math.max(1, picture.naturalHeight * scale);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const place = ([l, t, r, b]) => [l * canvas.width, t * canvas.height, (r - l) * canvas.width, (b - t) * canvas.height];
  if (asked.grey) { context.fillStyle = "#7f7f7f"; context.fillRect(...place(asked.grey)); }
  const crop = rubber && asked.drawing === "crop" ? rubber : asked.crop;
  if (crop) {
    const [x, y, w, h] = place(crop);
    context.fillStyle = "rgba(0, 0, 0, .5)";
    context.beginPath(); context.rect(0, 0, canvas.width, canvas.height); context.rect(x, y, w, h); context.fill("evenodd");
    context.strokeStyle = "#fff"; context.lineWidth = Math.max(2, canvas.width / 200); context.strokeRect(x, y, w, h);
  }
  if (rubber && asked.drawing === "grey") { context.fillStyle = "rgba(127, 127, 127, .85)"; context.fillRect(...place(rubber)); }
}
function dragBoxes(canvas) {
  let from = null, box = null;
  const at = event => { const r = canvas.getBoundingClientRect(); return [(event.clientX - r.left) / r.width, (event.clientY - r.top) / r.height].map(x => Math.min(1, Math.max(0, x))); };
  canvas.addEventListener("pointerdown", event => { from = at(event); box = null; canvas.setPointerCapture(event.pointerId); });
  canvas.addEventListener("pointermove", event => {
    if (!from) return;
    const to = at(event);
    box = [Math.min(from[0], to[0]), Math.min(from[1], to[1]), Math.max(from[0], to[0]), Math.max(from[1], to[1])];
    drawPhoto(box);
  });
  canvas.addEventListener("pointerup", () => { const done = box; from = box = null; if (done && done[2] - done[0] > 0.02 && done[3] - done[1] > 0.02) setBox(done); else drawPhoto(); });
}
async function camera() {
  const canvas = document.getElementById("photo");
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    const video = make("video", { autoplay: "", playsinline: "", muted: "" });
    video.srcObject = stream;
    await video.play();
    const shoot = make("button", { onclick: () => {
      const still = make("canvas", { width: video.videoWidth, height: video.videoHeight });
      still.getContext("2d").drawImage(video, 0, 0);
      stream.getTracks().forEach(track => track.stop());
      still.toBlob(take, "image/jpeg", 0.92);
    } }, "Take the photo");
    canvas.replaceWith(make("div", {}, video, make("div", { class: "tools" }, shoot)));
    shoot.focus();
  } catch (error) { complain("no camera can be used here"); }
}
document.addEventListener("paste", event => { const file = [...event.clipboardData.files].find(f => f.type.startsWith("image/")); if (file) { event.preventDefault(); take(file); } });
for (const kind of ["dragover", "drop"]) document.addEventListener(kind, event => event.preventDefault());

// The answer

function paintAnswer() {
  const place = document.getElementById("answer"), got = asked.answer;
  if (!place) return;
  const truth = got.label === null ? "" : got.label === got.predicted ? "correct" : `true class: ${className(got.label)}`;
  state.image = got;
  const verdict = make("p", { class: "verdict", id: "verdict" }, className(got.predicted), " ", make("small", {}, [`${percent(got.probabilities[0][1])} by softmax`, truth].filter(Boolean).join(" · ")));
  const bars = make("div", { class: "bars", role: "img", "aria-label": "Most probable classes" }, ...got.probabilities.flatMap(([c, p]) => [make("span", {}, className(c)), make("i", { style: { width: `${100 * p}%` } }), make("span", {}, percent(p))]));
  place.replaceChildren(verdict, make("p", { class: "changed", hidden: "" }), bars, make("h2", {}, "Prediction set"), ...predictionSet(), make("p", { class: "note", id: "guarantee" }));
  document.getElementById("details").replaceChildren(make("h2", {}, "Where its features look"), heatmaps(got), note(), make("h2", {}, "Where its classes branch"), ...treePlace(got), ...whyNot(got), ...whatIf(got));
  setCoverage(state.coverage);
}
// What the what-ifs changed, against the answer without them.
function sayWhatChanged() {
  const got = asked.answer, plain = asked.plain, at = state.coverage;
  const places = document.querySelectorAll(".changed");
  if (!plain || plain === got) { places.forEach(place => { place.hidden = true; }); return; }
  const before = plain.sets[plain.setOfCoverage[at]], now = got.sets[got.setOfCoverage[at]];
  const lost = before.filter(c => !now.includes(c)), won = now.filter(c => !before.includes(c)), list = cs => cs.slice(0, 5).map(className).join(", ") + (cs.length > 5 ? ` and ${cs.length - 5} more` : "");
  const verdict = got.predicted === plain.predicted ? `Still ${className(got.predicted)}` : `${className(plain.predicted)} became ${className(got.predicted)}`;
  const sets = [won.length ? `now also in the set: ${list(won)}` : "", lost.length ? `no longer: ${list(lost)}` : ""].filter(Boolean).join("; ");
  places.forEach(place => { place.hidden = false; place.textContent = `${verdict}. ${sets ? `At ${percent(report.coverages[at])} ${sets}.` : "The prediction set is the same."}`; });
}
coverageChanged = () => {
  const outside = +(100 * (1 - report.coverages[state.coverage])).toFixed(1), words = document.getElementById("guarantee");
  if (words) words.textContent = outside ? `Of 100 photos like those it was calibrated on, at most about ${outside} are expected to show a class that is not in their set.` : "At 100 % nothing is ruled out: the set holds every class.";
  sayWhatChanged();
};
function whyNot(got) {
  const options = report.classes.map((c, i) => i).filter(c => c !== got.predicted).sort((a, b) => className(a).localeCompare(className(b)));
  const other = asked.other !== null && asked.other !== got.predicted ? asked.other : got.nearest[1] ?? options[0];
  const place = make("div", { id: "why-place" });
  const menu = make("select", { id: "other", onchange: event => { asked.other = +event.target.value; paintWhy(got, asked.other, place); } }, ...options.map(c => make("option", { value: c }, className(c))));
  menu.value = other;
  paintWhy(got, other, place);
  return [make("h2", {}, make("label", { for: "other" }, "Why not another class?")), make("div", { class: "why" }, menu, place)];
}
async function paintWhy(got, other, place) {
  if (other === undefined) return;
  const own = report.classes[got.predicted].features, theirs = report.classes[other].features, level = f => got.activations[f].toFixed(2);
  const rows = [["only", got.predicted, own.filter(f => !theirs.includes(f))], ["only", other, theirs.filter(f => !own.includes(f))]];
  const sum = features => features.reduce((total, f) => total + got.activations[f], 0);
  place.replaceChildren(
    make("p", { class: "summary" }, `Shared features: ${own.filter(f => theirs.includes(f)).length}. The others decide: ${sum(rows[0][2]).toFixed(2)} for ${className(got.predicted)}, ${sum(rows[1][2]).toFixed(2)} for ${className(other)}.`),
    make("table", {}, ...rows.map(([word, c, features]) => make("tr", {}, make("th", { scope: "row" }, `${word} ${className(c)}`), make("td", {}, ...features.flatMap(f => [chip(f, report.features[f].colour), `${level(f)} `]))))));
  try {
    const pair = await fetched(`/api/compare?classes=${got.predicted},${other}`);
    merge(pair.pictures);
    place.append(grid([{ name: "this image", subject: "photo", class: got.predicted, bold: true }, ...pair.classes.map(classRow)], pair.columns, pair.colours));
  } catch (error) { complain(error.message); }
}
function whatIf(got) {
  const features = report.classes[(asked.plain || got).predicted].features;
  const toggle = f => event => { asked.off = event.target.checked ? [...asked.off, f] : asked.off.filter(g => g !== f); answer().then(() => { const box = document.getElementById(`off-${f}`); if (box) box.focus({ preventScroll: true }); }); };
  const box = f => make("input", { type: "checkbox", id: `off-${f}`, onchange: toggle(f), ...(asked.off.includes(f) ? { checked: "" } : {}) });
  return [make("h2", {}, "What if a feature were not there?"),
    make("fieldset", { class: "switches" }, make("legend", { class: "note" }, "Switch off"), ...features.map(f => make("label", { "data-feature": f, style: { "--colour": report.features[f].colour } }, box(f), make("i"), `Feature ${f}`))), make("p", { class: "changed", hidden: "" })];
}

// All classes as a tree: classes that share many features hang together

const map = { zoom: 1, picked: [] };
function showMap(entry) {
  const rowHeight = 22, width = 340, leaves = [], paths = [], most = Math.max(...report.classes.map(c => c.features.length));
  const x = shared => 12 + width * Math.min(1, Math.max(0, shared / most));
  const place = node => {
    if ("class" in node) { leaves.push(node.class); return [x(most), leaves.length * rowHeight - 6]; }
    const ends = node.children.map(place), at = x(node.shared), ys = ends.map(e => e[1]);
    for (const [cx, cy] of ends) paths.push(`M${at},${cy}H${cx}`);
    paths.push(`M${at},${Math.min(...ys)}V${Math.max(...ys)}`);
    return [at, (ys[0] + ys[1]) / 2];
  };
  const order = node => "class" in node ? 1 : node.children.reduce((n, child) => n + order(child), 0);
  place(report.map);
  const height = order(report.map) * rowHeight + 10, right = width + 40 + 14 * most + 9 * Math.max(...report.classes.map(c => c.name.length));
  const leaf = (c, row) => make("g", { class: map.picked.includes(c) ? "leaf picked" : "leaf", tabindex: 0, role: "button", "aria-label": className(c), "data-class": c, onclick: () => pick(c), onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(c); } } },
    ...report.classes[c].features.map((f, i) => make("circle", { cx: x(most) + 12 + 13 * i, cy: (row + 1) * rowHeight - 6, r: 5, fill: report.features[f].colour, "data-feature": f })),
    make("text", { x: x(most) + 16 + 13 * most, y: (row + 1) * rowHeight - 1 }, className(c)));
  const drawing = make("svg", { class: "map", id: "map", width: right * map.zoom, height: height * map.zoom, viewBox: `0 0 ${right} ${height}`, role: "group", "aria-label": "All classes by shared features" }, make("path", { d: paths.join(""), fill: "none", "stroke-width": 1.2 }), ...leaves.map(leaf));
  const zoom = factor => { map.zoom = Math.min(3, Math.max(0.3, map.zoom * factor)); drawing.setAttribute("width", right * map.zoom); drawing.setAttribute("height", height * map.zoom); };
  const search = make("input", { type: "search", id: "map-search", placeholder: "Find a class", "aria-label": "Find a class", oninput: event => find(event.target.value) });
  const find = text => {
    const wanted = text.toLowerCase();
    drawing.classList.toggle("searching", wanted !== "");
    let first = null;
    for (const g of drawing.querySelectorAll(".leaf")) { const hit = wanted !== "" && className(+g.dataset.class).toLowerCase().includes(wanted); g.classList.toggle("found", hit); if (hit && !first) first = g; }
    if (first) first.scrollIntoView({ block: "center" });
  };
  const pick = c => { map.picked = map.picked.includes(c) ? map.picked.filter(p => p !== c) : [...map.picked, c].slice(-2); for (const g of drawing.querySelectorAll(".leaf")) g.classList.toggle("picked", map.picked.includes(+g.dataset.class)); compare(); };
  view.replaceChildren(make("h2", {}, "All classes by the features they share"),
    make("div", { class: "map-tools" }, search, make("button", { onclick: () => zoom(1.25), "aria-label": "Larger" }, "+"), make("button", { onclick: () => zoom(0.8), "aria-label": "Smaller" }, "−"), make("span", { class: "note" }, "The further right two classes meet, the more features they share. Choose two to compare them.")),
    make("div", { class: "map-place", tabindex: 0, role: "region", "aria-label": "Map of the classes" }, drawing), make("div", { id: "pair", "aria-live": "polite" }));
  if (entry !== showMap.last) { showMap.last = entry; map.picked = map.picked.length === 1 && map.picked[0] !== entry ? [...map.picked, entry] : [entry]; for (const g of drawing.querySelectorAll(".leaf")) g.classList.toggle("picked", map.picked.includes(+g.dataset.class)); }
  compare();
}
async function compare() {
  const place = document.getElementById("pair");
  if (map.picked.length < 2) { place.replaceChildren(...map.picked.map(c => make("div", {}, make("h2", {}, className(c)), grid([classRow(c)], report.classes[c].features, report.classes[c].colours)))); return; }
  const pair = await fetched(`/api/compare?classes=${map.picked.join()}`);
  merge(pair.pictures);
  if (document.getElementById("pair") === place) place.replaceChildren(...comparison(pair));
}

fetched("/page.json").then(start, error => { document.getElementById("title").textContent = `The model does not answer: ${error.message}`; });
