// A live strip: an erase bar goes from left to right, at 25 mm/s of the device's own clock.

import { join, leave } from "./clock.js";
import { BASE, colour, fit, GAIN, highPass, MM, sharedGrid, SPEED } from "./paper.js";

const BEHIND = 1600; // ms that the pen is behind the newest sample: chunks come once a second
const JUMP = 6000; // ms behind after which what was missed is skipped (a tab that slept)
const BAR = 3 * MM;
const JOINED = 40; // ms
const MARGIN = 3; // px that a trace stays away from the edges, where it can

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    target.sweep.visible = isIntersecting;
    if (isIntersecting) target.sweep.stale = true;
  }
}, { rootMargin: "60px" });
const sized = new ResizeObserver((entries) => { for (const { target } of entries) target.sweep.stale = true; });

export class Sweep {
  constructor(canvas, trace) {
    this.canvas = canvas;
    this.trace = trace;
    this.visible = false;
    this.stale = true; // has to be painted anew
    this.time = null; // where the pen is, device's ms
    canvas.sweep = this;
    seen.observe(canvas);
    sized.observe(canvas);
    join(this);
  }

  remove() {
    leave(this);
    this.visible = false;
    seen.unobserve(this.canvas);
    sized.unobserve(this.canvas);
  }

  draw(now) {
    if (this.stale) this.begin();
    const { chunks, broken } = this.trace;
    if (!this.context || chunks.length === 0) { this.before = now; return; }
    const end = chunks.at(-1).end;
    let from = this.time;
    if (from === null || broken !== this.broken || end - from > JUMP || from > end + 1000) {
      this.time = end - BEHIND;
      this.broken = broken;
      from = Math.max(this.time - (this.width / SPEED) * 1000 + 200, chunks[0].t0 - 1);
      this.pen = null;
    } else {
      // A little faster or slower, so that the pen stays behind by the same time whatever the device's clock does.
      const rate = 1 + Math.max(-0.1, Math.min(0.2, (end - from - BEHIND) / 8000));
      this.time = Math.min(end, from + Math.min(now - this.before, 500) * rate);
    }
    this.before = now;
    if (this.time > from) this.write(from, this.time);
  }

  begin() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (width < 8 || height < 8) return;
    this.width = width;
    this.height = height;
    this.context = fit(this.canvas, width, height);
    this.grid = sharedGrid(width, height);
    this.context.drawImage(this.grid, 0, 0, width, height);
    this.ink = colour("trace");
    this.high = -Infinity;
    this.low = Infinity;
    this.position();
    this.time = null;
    this.stale = false;
  }

  /** Erase ahead of the pen and draw the samples of (from, to], device's ms. */
  write(from, to) {
    const context = this.context, width = this.width;
    let middle = this.middle;
    const start = (from / 1000) * SPEED, length = ((to - from) / 1000) * SPEED;
    this.erase(start, length + BAR);
    context.strokeStyle = this.ink;
    context.lineWidth = 1.4;
    context.lineJoin = "round";
    context.beginPath();
    let pen = this.pen;
    if (pen) context.moveTo(pen.x, pen.y);
    for (const { t0, fs, samples, end } of this.trace.chunks) {
      if (end <= from || t0 > to) continue;
      const step = 1000 / fs;
      let i = Math.max(0, Math.floor((from - t0) / step) + 1);
      const stop = Math.min(samples.length - 1, Math.floor((to - t0) / step));
      for (; i <= stop; i++) {
        const time = t0 + i * step;
        if (!pen || time - pen.time > JOINED || this.rate !== fs) {
          this.filter = highPass(fs);
          this.rate = fs;
          pen = null;
        }
        const up = this.filter(samples[i] / 1000) * GAIN;
        const x = ((time / 1000) * SPEED) % width;
        if (pen && x < pen.x) middle = this.position();
        this.high = Math.max(this.high, up);
        this.low = Math.min(this.low, up);
        const y = middle - up;
        if (pen && x >= pen.x) context.lineTo(x, y);
        else context.moveTo(x, y);
        pen = { x, y, time };
      }
    }
    context.stroke();
    this.pen = pen;
  }

  /** Where the baseline is in the next sweep: moved only if the last one ran out of the strip and a move helps. */
  position() {
    const { high, low, height } = this, usual = height * BASE, centred = (height + high + low) / 2;
    const fits = (middle) => middle - high >= MARGIN && middle - low <= height - MARGIN;
    this.middle = fits(usual) || !fits(centred) ? usual : centred;
    this.high = -Infinity;
    this.low = Infinity;
    return this.middle;
  }

  erase(start, length) {
    if (length >= this.width) {
      this.context.drawImage(this.grid, 0, 0, this.width, this.height);
      return;
    }
    const x = Math.floor(start % this.width) + 1, w = Math.ceil(length);
    this.copy(x, Math.min(w, this.width - x));
    if (x + w > this.width) this.copy(0, x + w - this.width);
  }

  copy(x, w) {
    if (w <= 0) return;
    const ratio = this.grid.width / this.width;
    this.context.drawImage(this.grid, x * ratio, 0, w * ratio, this.grid.height, x, 0, w, this.height);
  }
}

/** After a change of theme. */
export function repaint() {
  for (const canvas of document.querySelectorAll("canvas")) if (canvas.sweep) canvas.sweep.stale = true;
}
