// Batches of ECG: see services/holter/console/wire.py.

const names = new TextDecoder();

export function parse(buffer) {
  const view = new DataView(buffer);
  const found = [];
  let at = 0;
  while (at < buffer.byteLength) {
    const length = view.getUint8(at);
    const device = names.decode(new Uint8Array(buffer, at + 1, length));
    at += 1 + length;
    const flags = view.getUint8(at);
    const t0 = view.getFloat64(at + 1, true) / 1000;
    const fs = view.getFloat32(at + 9, true);
    const count = view.getUint16(at + 13, true);
    at += 15;
    found.push({ device, flags, t0, fs, samples: new Int16Array(buffer.slice(at, at + 2 * count)) });
    at += 2 * count;
  }
  return found;
}
