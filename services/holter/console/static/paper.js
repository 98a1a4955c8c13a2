// ECG paper: its scale, its grid, and strips and curves that stand still.

export const MM = 96 / 25.4; // CSS pixels
export const SPEED = 25 * MM; // per second
export const GAIN = 10 * MM; // per mV
export const BASE = 0.63; // of a strip's height is its baseline: most of a QRS goes up

export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A canvas of this size in CSS pixels, at the screen's own resolution. */
export function fit(canvas, width, height) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d", { alpha: false });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** 1 mm and 5 mm lines: 40 and 200 ms, 0.1 and 0.5 mV. */
export function paintGrid(context, width, height, base = 0.5) {
  context.fillStyle = colour("paper");
  context.fillRect(0, 0, width, height);
  const middle = height * base;
  for (const [step, name] of [[MM, "grid-fine"], [5 * MM, "grid"]]) {
    context.beginPath();
    for (let x = 0; x <= width; x += step) { context.moveTo(x, 0); context.lineTo(x, height); }
    for (let y = middle % step; y <= height; y += step) { context.moveTo(0, y); context.lineTo(width, y); }
    context.strokeStyle = colour(name);
    context.lineWidth = 1;
    context.stroke();
  }
}

const grids = new Map();
/** A grid that is painted once and copied by all strips of this size. */
export function sharedGrid(width, height) {
  const ratio = Math.min(devicePixelRatio || 1, 2);
  const key = [width, height, ratio, colour("paper")].join();
  if (!grids.has(key)) {
    if (grids.size > 12) grids.clear();
    const canvas = document.createElement("canvas");
    paintGrid(fit(canvas, width, height), width, height, BASE);
    grids.set(key, canvas);
  }
  return grids.get(key);
}

/** Takes the slow drift of an electrode out of what is shown: one pole at 0.5 Hz. */
export function highPass(fs) {
  const a = 1 / (1 + (2 * Math.PI * 0.5) / fs);
  let x = null, y = 0;
  return (value) => {
    y = x === null ? 0 : a * (y + value - x);
    x = value;
    return y;
  };
}

/** Chunks as rows of paper, one below the other, oldest first; draws what fits into `seconds`. */
export function paintRows(canvas, chunks, { width, rowHeight = 26 * MM, end, seconds, onset }) {
  const perRow = width / SPEED;
  const rows = Math.max(1, Math.ceil(seconds / perRow));
  const start = end - rows * perRow * 1000;
  const context = fit(canvas, width, rows * rowHeight);
  canvas.style.height = `${rows * rowHeight}px`;
  paintGrid(context, width, rows * rowHeight);
  const place = (time) => {
    const at = ((time - start) / 1000) * SPEED;
    const row = Math.min(rows - 1, Math.floor(at / width));
    return [at - row * width, row * rowHeight + rowHeight / 2, row];
  };
  context.strokeStyle = colour("trace");
  context.lineWidth = 1.3;
  context.lineJoin = "round";
  context.beginPath();
  let filter = null, rate = 0, next = -Infinity, row = -1;
  for (const { t0, fs, samples } of chunks) {
    const gap = fs !== rate || Math.abs(t0 - next) > 40;
    if (gap) { filter = highPass(fs); rate = fs; row = -1; }
    for (let i = 0; i < samples.length; i++) {
      const time = t0 + (i * 1000) / fs;
      const value = filter(samples[i] / 1000);
      if (time < start || time > end) continue;
      const [x, middle, here] = place(time);
      const y = middle - Math.max(-1.4, Math.min(1.4, value)) * GAIN;
      if (here === row) context.lineTo(x, y);
      else context.moveTo(x, y);
      row = here;
    }
    next = t0 + (samples.length * 1000) / fs;
  }
  context.stroke();
  if (onset && onset >= start && onset <= end) {
    const [x, middle] = place(onset);
    context.strokeStyle = colour("mark");
    context.setLineDash([4, 3]);
    context.beginPath();
    context.moveTo(x, middle - rowHeight / 2);
    context.lineTo(x, middle + rowHeight / 2);
    context.stroke();
    context.setLineDash([]);
  }
  return rows * perRow;
}

/** One curve over time, with a threshold where there is one. */
export function paintCurve(canvas, times, values, { width, height, from, to, threshold, low, high }) {
  const context = fit(canvas, width, height);
  context.fillStyle = colour("panel");
  context.fillRect(0, 0, width, height);
  const known = values.filter((value) => value !== null);
  const top = high ?? Math.max(...known, threshold ?? -Infinity);
  const bottom = low ?? Math.min(...known, threshold ?? Infinity);
  const scale = top > bottom ? (height - 10) / (top - bottom) : 0;
  const x = (time) => ((time - from) / (to - from)) * width;
  const y = (value) => height - 5 - (value - bottom) * scale;
  if (threshold !== undefined) {
    context.strokeStyle = colour("mark");
    context.setLineDash([5, 4]);
    context.beginPath();
    context.moveTo(0, y(threshold));
    context.lineTo(width, y(threshold));
    context.stroke();
    context.setLineDash([]);
  }
  context.strokeStyle = colour("curve");
  context.lineWidth = 1.5;
  context.beginPath();
  let pen = false, before = 0;
  values.forEach((value, i) => {
    if (value === null) { pen = false; return; }
    if (pen && times[i] - before < 60000) context.lineTo(x(times[i]), y(value));
    else context.moveTo(x(times[i]), y(value));
    pen = true;
    before = times[i];
  });
  context.stroke();
}
