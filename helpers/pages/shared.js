// What all pages share: the rules of sizes and windows, and the frame that a page lives in.
"use strict";

// ---- The rules. An axis is {size, kernel, stride, padding, dilation, outputPadding}, all whole numbers.
const rules = {
  span: a => a.dilation * (a.kernel - 1) + 1,

  // Positions of a window along one axis; `ceil` keeps a last window that isn't filled (pooling only).
  outputSize(a, ceil = false) {
    const room = a.size + 2 * a.padding - rules.span(a);
    if (room < 0)
      throw new Error(`A window of ${rules.span(a)} pixels doesn't fit into ${a.size + 2 * a.padding} ` +
        `(input ${a.size}, padding ${a.padding} on both sides): use a larger input, more padding or a smaller kernel.`);
    if (!ceil) return Math.floor(room / a.stride) + 1;
    const count = Math.ceil(room / a.stride) + 1;
    return (count - 1) * a.stride >= a.size + a.padding ? count - 1 : count;
  },

  transposedSize: a => (a.size - 1) * a.stride - 2 * a.padding + a.dilation * (a.kernel - 1) + a.outputPadding + 1,

  // The output size of any kind, or an Error that says what is wrong with the setting.
  sizeOf(kind, a, ceil = false) {
    if (kind === "transposed") {
      if (a.outputPadding >= Math.max(a.stride, a.dilation))
        throw new Error(`An output padding of ${a.outputPadding} must be smaller than the stride (${a.stride}) or the ` +
          `dilation (${a.dilation}): it only chooses between sizes that the stride can't tell apart.`);
      const size = rules.transposedSize(a);
      if (size < 1)
        throw new Error(`Nothing is left: here padding cuts ${a.padding} off both ends of an output of ` +
          `${size + 2 * a.padding}. Use less padding, a larger input or a larger kernel.`);
      return size;
    }
    if (kind !== "convolution" && 2 * a.padding > a.kernel)
      throw new Error(`Padding ${a.padding} is more than half the window (${a.kernel}): a window could lie wholly in ` +
        `the padding, and there would be nothing to pool. Use less padding or a larger window.`);
    return rules.outputSize(a, ceil);
  },

  // One layer more: what a unit sees (`size`), how far the fields of neighbours lie apart (`jump`), where the first begins.
  through: (field, a) => ({ size: field.size + a.dilation * (a.kernel - 1) * field.jump, jump: field.jump * a.stride,
                            start: field.start - a.padding * field.jump }),

  // The input places under window i along an axis; some lie in the padding.
  taps: (a, i) => Array.from({ length: a.kernel }, (_, k) => i * a.stride - a.padding + k * a.dilation),

  // All output values, rows of numbers. x: rows of numbers; w: the kernel (pooling: not used); axes: [vertical, horizontal].
  output(kind, x, w, axes, ceil = false) {
    const [rows, columns] = axes.map(a => rules.sizeOf(kind, a, ceil));
    const out = Array.from({ length: rows }, () => Array(columns).fill(0));
    if (kind === "transposed") {
      x.forEach((line, i) => line.forEach((value, j) => rules.taps(axes[0], i).forEach((r, a) =>
        rules.taps(axes[1], j).forEach((c, b) => { if (r >= 0 && r < rows && c >= 0 && c < columns) out[r][c] += value * w[a][b]; }))));
      return out;
    }
    for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) out[i][j] = rules.at(kind, x, w, axes, i, j).value;
    return out;
  },

  // One output value and the terms it is made of: {x, w, zero, r, c}, kernel row by kernel row.
  at(kind, x, w, axes, i, j) {
    const [v, h] = axes, terms = rules.taps(v, i).map((r, a) => rules.taps(h, j).map((c, b) => {
      const inside = r >= 0 && r < v.size && c >= 0 && c < h.size;
      const kept = r < v.size + v.padding && c < h.size + h.padding;  // else beyond the padding (ceil)
      return { x: inside ? x[r][c] : 0, w: w && w[a] ? w[a][b] : 0, inside, kept, r, c };
    })), all = terms.flat();
    let value;
    if (kind === "max") value = Math.max(...all.filter(t => t.inside).map(t => t.x));
    else if (kind === "average") value = all.reduce((s, t) => s + t.x, 0) / all.filter(t => t.kept).length;
    else value = all.reduce((s, t) => s + t.x * t.w, 0);
    return { value, terms };
  },
};

// ---- Small tools
const $ = id => document.getElementById(id);
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const show = value => String(Math.round(value * 100) / 100).replace("-", "−");
const dark = () => document.documentElement.classList.contains("dark");
function svg(tag, attributes = {}, text) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function place(event, node) {  // of a pointer, in the picture's own units
  const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(node.getScreenCTM().inverse());
  return [p.y, p.x];
}
function slider(name, label, [low, high], value, change) {  // a labelled range that shows its value
  const holder = document.createElement("label");
  holder.innerHTML = `${label} <input type="range" min="${low}" max="${high}" step="1" value="${value}" name="${name}"> <output>${value}</output>`;
  const [input, output] = [holder.querySelector("input"), holder.querySelector("output")];
  input.addEventListener("input", () => { output.value = input.value; change(Number(input.value)); });
  holder.set = v => { input.value = v; output.value = v; };
  holder.off = (no, why) => { input.disabled = no; holder.classList.toggle("off", no); holder.title = no ? why : ""; };
  return holder;
}

// ---- The frame: as high as the page, in the colours of what is around it, and without the still picture beside it.
(function () {
  let frame = null;
  try { frame = window.frameElement; } catch (error) { /* another origin: the frame keeps its height and scrolls */ }
  function colours() {
    let lit = !matchMedia("(prefers-color-scheme: dark)").matches || frame !== null;
    for (let node = frame; node; node = node.parentElement) {
      const [r, g, b, alpha = 1] = (getComputedStyle(node).backgroundColor.match(/[\d.]+/g) || []).map(Number);
      if (alpha > 0) { lit = 0.3 * r + 0.6 * g + 0.1 * b > 110; break; }
    }
    document.documentElement.classList.toggle("dark", !lit);
    dispatchEvent(new Event("colours"));
  }
  function start() {
    colours();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => setTimeout(colours, 50));
    if (!frame) return;
    const still = frame.parentElement && frame.parentElement.querySelector("img");
    if (still) still.style.display = "none";
    new ResizeObserver(() => { frame.style.height = document.body.offsetHeight + 4 + "px"; }).observe(document.body);
  }
  addEventListener("DOMContentLoaded", start);
})();
