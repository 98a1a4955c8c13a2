// One clock for all that moves: frames for the strips, and two phases for everything that flashes.
//
// IEC 60601-1-8 wants red at 1.4 to 2.8 Hz and yellow at 0.4 to 0.8 Hz, WCAG 2.3.1 at most three flashes a second:
// 2 Hz and 0.5 Hz are both. All tiles share the phase of the wall clock, so flashes never add up, not even over screens.

const HIGH = 500; // ms
const MEDIUM = 2000;
const BUDGET = 6; // ms of a frame that strips may take
const MOST_TURNS = 8;
const LATE = 25; // ms between two frames
const LOOK = 40; // frames

const strips = new Set();
let queue = [];
let frozen = false;
let turns = 1, frames = 0, late = 0;

export const figures = { frames: 0, draws: 0, script: [], intervals: [], recording: false };

export function join(strip) { strips.add(strip); }
export function leave(strip) { strips.delete(strip); }
export function freeze(on) { frozen = on; }

function phase(root, name, on) {
  if (root.dataset[name] !== on) root.dataset[name] = on;
}

/** Strips take turns: few are drawn in each frame, many in every second or third; and where frames come late, for a
 *  screen that is too much for its machine, in fewer still, so that alerts and the page never wait for them. */
function draw(now) {
  const began = performance.now();
  const visible = [];
  for (const strip of strips) if (strip.visible) visible.push(strip);
  const least = visible.length <= 40 ? 1 : visible.length <= 100 ? 2 : 3;
  turns = Math.max(least, Math.min(MOST_TURNS, turns));
  if (queue.length === 0) queue = visible;
  let left = Math.ceil(visible.length / turns), drawn = 0;
  while (left-- > 0 && queue.length > 0 && performance.now() - began < BUDGET) {
    const strip = queue.pop();
    if (strip.visible) { strip.draw(now); drawn += 1; }
  }
  return drawn;
}

/** Looks once in a while at how many frames came late. */
function adapt(interval) {
  frames += 1;
  if (interval > LATE) late += 1;
  if (frames < LOOK) return;
  if (late > LOOK / 10) turns += 1;
  else if (late < LOOK / 40) turns -= 1;
  frames = late = 0;
}

let last = 0;
function frame(now) {
  const began = performance.now();
  const wall = Date.now();
  const root = document.documentElement;
  phase(root, "high", wall % HIGH < HIGH / 2 ? "on" : "off");
  phase(root, "medium", wall % MEDIUM < MEDIUM / 2 ? "on" : "off");
  const drawn = frozen ? 0 : draw(now);
  if (figures.recording) {
    figures.frames += 1;
    figures.draws += drawn;
    figures.turns = turns;
    figures.script.push(performance.now() - began);
    if (last) figures.intervals.push(now - last);
  }
  if (last) adapt(now - last);
  last = now;
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);

// For whoever measures: window.holterFigures.recording = true, and read it later.
globalThis.holterFigures = figures;
