// Building blocks that the report and the live page share. They paint `report`, the data that Python collected,
// and call `open_(tab, entry)` of the page they are on.
"use strict";
let report = null, signed = false; // the data, and whether its classes have negative weights; set by `start`

function make(tag, attributes = {}, ...children) {
  const svgTags = ["svg", "path", "circle", "text", "g", "title"];
  const element = svgTags.includes(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.entries(value).forEach(([key, v]) => element.style.setProperty(key, v));
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null));
  return element;
}
const className = c => report.classes[c].name;
const weightOf = (c, feature) => { const at = report.classes[c].features.indexOf(feature); return at < 0 ? 0 : report.classes[c].weights[at]; };
const percent = share => `${+(100 * share).toFixed(2)} %`;

// Building blocks

function chip(feature, colour) {
  return make("button", { class: "chip", "data-feature": feature, style: { "--colour": colour }, title: `Feature ${feature}`, onclick: () => open_("Features", feature) }, make("i"), String(feature));
}
function photo(subject, name) {
  const picture = report.pictures[subject];
  return picture ? make("img", { class: "photo", src: picture.src, alt: name }) : make("div", { class: "photo note" }, "no image");
}
// mark: whether the peak lies on the right part, where that is known
function heat(subject, feature, colour, weight, mark) {
  const cell = make("div", { class: weight ? "heat own" : "heat", "data-feature": feature, style: { "--colour": colour } });
  const picture = report.pictures[subject];
  if (picture) {
    cell.append(make("img", { src: picture.src, alt: `Feature ${feature}` }));
    const mask = picture.heat[feature];
    const square = (picture.squares || {})[feature];
    if (mask) cell.append(make("span", { style: { "mask-image": `url(${mask})`, "-webkit-mask-image": `url(${mask})` } }));
    if (square) {
      const [left, top, right, bottom] = square.map(edge => 100 * edge);
      cell.append(make("u", { style: { left: `${left}%`, top: `${top}%`, width: `${right - left}%`, height: `${bottom - top}%` } }));
    }
  }
  if (mark === undefined && picture) mark = (picture.marks || {})[feature];
  if (mark !== undefined) cell.append(make("em", { class: mark ? "right" : "wrong" }, mark ? "✓" : "✗"));
  if (signed && weight) cell.append(make("b", {}, weight > 0 ? "+" : "−"));
  return cell;
}
// rows: {name, subject, class, bold, marks}
function grid(rows, columns, colours) {
  const table = make("div", { class: "grid", style: { "grid-template-columns": `minmax(80px, 150px) repeat(${columns.length + 1}, var(--cell))` } });
  table.append(make("div"), make("div", { class: "name" }, "Feature"), ...columns.map(f => chip(f, colours[f])));
  for (const row of rows) {
    table.append(make("div", { class: row.bold ? "name bold" : "name" }, row.name), photo(row.subject, row.name));
    table.append(...columns.map(f => heat(row.subject, f, colours[f], weightOf(row.class, f), (row.marks || {})[f])));
  }
  table.append(make("div"), make("div", { class: "name note" }, "certainty 0–1"), ...columns.map(f => make("div", { class: "scale", style: { "--colour": colours[f] } })));
  return table;
}
const shows = what => Object.values(report.pictures).some(picture => Object.keys(picture[what] || {}).length);
const note = (rightPart = "the part that causes the feature") => make("p", { class: "note" }, "Certainty, the colour at the peak: the activation, divided by its mean where the feature is present. Coloured frame: a feature of the class." + (signed ? " + and − are the signs of the weights." : "")
  + (shows("squares") ? " Dashed square: all that the feature can see where it is strongest." : "") + (shows("marks") ? ` ✓ or ✗: is the peak on ${rightPart}?` : ""));
const classRow = c => ({ name: className(c), subject: `class${c}`, class: c });

function tree(image, drawn) {
  const step = 74, rowHeight = 30, radius = size => 10 + 5.5 * size;
  const inSet = new Set(drawn.leaves.filter(leaf => leaf.inSet).flatMap(leaf => leaf.path.map((_, depth) => leaf.path.slice(0, depth + 1).join()).concat("")));
  const x = depth => 14 + depth * step, y = row => (row + 0.5) * rowHeight + 6;
  const rowOf = Object.fromEntries(drawn.nodes.map(node => [node.path.join(), node.row]));
  const branch = (parent, depth, row, green) => {
    const [x0, y0, x1, y1] = [x(depth - 1), y(rowOf[parent.join()]), x(depth), y(row)], middle = (x0 + x1) / 2;
    return make("path", { d: `M${x0},${y0} C${middle},${y0} ${middle},${y1} ${x1},${y1}`, fill: "none", stroke: green ? report.inSet : report.outside, "stroke-width": green ? 4 : 1.6, class: green ? "branch in-set" : "branch" });
  };
  const branches = [], marks = [];
  let right = 0;
  for (const node of drawn.nodes) {
    if (!node.path.length) { marks.push(make("circle", { cx: x(0), cy: y(node.row), r: 5, fill: "currentColor" })); continue; }
    const feature = node.path[node.path.length - 1], depth = node.path.length, colour = image.colours[feature] || "#c8c8c8";
    branches.push([inSet.has(node.path.join()), branch(node.path.slice(0, -1), depth, node.row, inSet.has(node.path.join()))]);
    marks.push(make("g", { "data-feature": feature, tabindex: 0, role: "img", "aria-label": `Feature ${feature}` },
      make("title", {}, `Feature ${feature}, activation ${node.activation.toFixed(2)}`),
      make("circle", { cx: x(depth), cy: y(node.row), r: radius(node.size), fill: colour, stroke: "white" }),
      make("text", { x: x(depth), y: y(node.row) + 4.5, "text-anchor": "middle", style: { "font-size": "12px", fill: ink(colour) } }, String(feature))));
  }
  for (const leaf of drawn.leaves) {
    const depth = leaf.path.length + 1;
    branches.push([leaf.inSet, branch(leaf.path, depth, leaf.row, leaf.inSet)]);
    const bold = leaf.classes.includes(image.predicted) && !leaf.label.startsWith("+");
    marks.push(make("text", { x: x(depth) + 7, y: y(leaf.row) + 5, style: { "font-weight": bold ? 700 : 400 }, class: leaf.inSet ? "leaf in-set" : "leaf", "data-classes": leaf.classes.join() },
      make("title", {}, leaf.classes.map(className).join(", ")), leaf.label));
    right = Math.max(right, x(depth) + 20 + 8.6 * leaf.label.length);
  }
  branches.sort((a, b) => a[0] - b[0]);
  const height = (Math.max(...drawn.leaves.map(leaf => leaf.row)) + 1) * rowHeight + 12;
  return make("svg", { id: "tree", width: right, height, viewBox: `0 0 ${right} ${height}`, role: "img", "aria-label": "Hierarchy of the prediction" }, ...branches.map(b => b[1]), ...marks);
}
function ink(colour) {
  const [r, g, b] = [1, 3, 5].map(at => parseInt(colour.slice(at, at + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b > 128 ? "black" : "white";
}

