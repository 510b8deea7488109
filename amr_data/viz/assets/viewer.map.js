"use strict";
// The map of joints by frames under the scrubber, on the same axis of time, with its axis and its colour bar beside it.
function makeMap(view, canvas) {
  const { data } = view;
  const V = data.joints.length;
  const GAP = 6; // pixels between two bodies
  const AXIS = 30;
  let picture = null, layer = null;

  function paint(next) {
    layer = next;
    if (!layer) return;
    picture = document.createElement("canvas");
    picture.width = layer.frames;
    picture.height = layer.bodies * V;
    const context = picture.getContext("2d"), image = context.createImageData(picture.width, picture.height);
    for (let body = 0; body < layer.bodies; body++) for (let row = 0; row < V; row++) for (let t = 0; t < layer.frames; t++) {
      const v = view.value(layer, body, t, data.order[row]), at = ((body * V + row) * layer.frames + t) * 4;
      const [r, g, b] = v === data.noValue ? [128, 128, 128] : view.shade(layer, v);
      image.data.set([r, g, b, v === data.noValue ? 60 : 255], at);
    }
    context.putImageData(image, 0, 0);
  }

  function box() {
    const w = canvas.clientWidth, h = canvas.clientHeight, { left, right } = view.gutters();
    const inner = h - AXIS - GAP * (layer.bodies - 1);
    return { w, h, left, width: w - left - right, right, body: inner / layer.bodies, row: inner / layer.bodies / V };
  }

  // Frames of a clip that are written on its axis: about every `wide` pixels, in round steps.
  function ticks(frames, width, wide) {
    const step = (n) => { for (const s of [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000]) if (s >= n) return s; return 100000; };
    const every = step((frames * wide) / width);
    return Array.from({ length: Math.ceil(frames / every) }, (_, i) => i * every);
  }

  function cursor(t) {
    if (!layer || !canvas.clientWidth) return;
    const ratio = Math.min(devicePixelRatio, 2), at = box(), { w, h, left, width } = at;
    for (const [side, length] of [["width", w], ["height", h]]) {
      if (canvas[side] !== Math.round(length * ratio)) canvas[side] = Math.round(length * ratio);
    }
    const context = canvas.getContext("2d"), css = getComputedStyle(document.documentElement);
    const ink = css.getPropertyValue("--ink"), faint = css.getPropertyValue("--faint"), colours = view.colours();
    const x = (frame) => left + (frame / view.frames()) * width;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    context.imageSmoothingEnabled = false;
    context.textBaseline = "middle";
    const every = at.row >= 8.5 && left > 60; // room for each joint's name, else for those of the parts
    for (let body = 0; body < layer.bodies; body++) {
      const top = body * (at.body + GAP);
      context.drawImage(picture, 0, body * V, layer.frames, V, left, top, x(layer.frames) - left, at.body);
      let row = 0;
      context.textAlign = "right";
      context.font = `${every ? Math.min(11, at.row * 0.95) : 11}px system-ui, sans-serif`;
      for (const [name, count] of data.parts) {
        const y = top + row * at.row;
        context.fillStyle = "rgba(255,255,255,.5)";
        if (row) context.fillRect(left, y - 0.5, width, 1);
        context.fillStyle = ink;
        const room = count * at.row >= 11;
        if (left > 60 && !every && room) context.fillText(name, left - 5, y + (count * at.row) / 2);
        for (let i = 0; every && i < count; i++) context.fillText(data.joints[data.order[row + i]], left - 5, y + (i + 0.5) * at.row);
        row += count;
      }
      if (layer.bodies > 1) { // beside the map, from below upwards
        context.save();
        context.translate(9, top + at.body / 2);
        context.rotate(-Math.PI / 2);
        context.textAlign = "center";
        context.font = "600 11px system-ui, sans-serif";
        context.fillStyle = colours.bodies[body % colours.bodies.length];
        context.fillText(`body ${body + 1}`, 0, 0);
        context.restore();
      }
    }
    axis(context, at, x, faint);
    bar(context, at, ink);
    for (const { first, end, colour, alarm } of view.marks()) {
      if (alarm && end - first >= view.clip.frames) continue;
      const edges = alarm ? [first + 0.5] : [first, end].filter((edge) => edge > 0 && edge < view.clip.frames);
      for (const edge of edges) { // with a light rim, since the map below is of any colour
        context.fillStyle = "rgba(255,255,255,.75)"; context.fillRect(x(edge) - 2, 0, 4, h - AXIS);
        context.fillStyle = colour; context.fillRect(x(edge) - 1, 0, 2, h - AXIS);
      }
    }
    const now = x(Math.min(t, view.clip.frames - 1) + 0.5);
    context.fillStyle = "#fff"; context.fillRect(now - 1.5, 0, 3, h - AXIS);
    context.fillStyle = "#000"; context.fillRect(now - 0.5, 0, 1, h - AXIS);
    canvas.dataset.cursor = t;
  }

  function axis(context, { h, left, width }, x, faint) {
    const frames = view.frames(), { rate } = view.clip, top = h - AXIS;
    context.fillStyle = context.strokeStyle = faint;
    context.font = "11px system-ui, sans-serif";
    context.fillRect(left, top + 1, width, 1);
    const write = (text, at, y) => {
      const half = context.measureText(text).width / 2;
      context.fillText(text, Math.max(left + half, Math.min(at, left + width - half)), y);
    };
    context.textAlign = "center";
    for (const t of ticks(frames, width, 52)) {
      context.fillRect(x(t + 0.5), top + 1, 1, 4);
      write(t, x(t + 0.5), top + 11);
    }
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600];
    const seconds = frames / rate, step = steps.find((s) => s >= (seconds * 60) / width) || 3600;
    for (let s = 0; s < seconds; s += step) write(`${Number(s.toFixed(1))} s`, x(s * rate + 0.5), top + 23);
    if (left > 60) { context.textAlign = "right"; context.fillText("frame", left - 5, top + 11); context.fillText("time", left - 5, top + 23); }
  }

  function bar(context, { w, h, right }, ink) {
    const at = w - right + 7, top = 8, tall = Math.min(h - AXIS - 16, 170), narrow = right < 50;
    context.font = `${narrow ? 9.5 : 11}px system-ui, sans-serif`;
    context.textAlign = "left";
    if (layer.states) {
      [...layer.states].reverse().forEach((word, i) => {
        const [r, g, b] = view.shade(layer, i ? 0 : data.noValue - 1);
        context.fillStyle = `rgb(${r},${g},${b})`;
        context.fillRect(at, top + i * 30, 12, 12);
        context.fillStyle = ink;
        context.fillText(word, at, top + i * 30 + 19);
      });
      return;
    }
    for (let y = 0; y < tall; y++) {
      const [r, g, b] = view.shade({ ...layer, common: layer.top }, (1 - y / tall) * (data.noValue - 1));
      context.fillStyle = `rgb(${r},${g},${b})`;
      context.fillRect(at, top + y, 9, 1.5);
    }
    context.fillStyle = ink;
    context.fillText(view.amount(layer.top), at + 12, top + 3);
    context.fillText("0", at + 12, top + tall - 3);
    if (layer.unit) context.fillText(layer.unit, at + 12, top + 16);
  }

  function at(event) {
    const edge = canvas.getBoundingClientRect(), { left, width, body, row } = box();
    const t = Math.floor(((event.clientX - edge.left - left) / width) * view.frames()), y = event.clientY - edge.top;
    const which = Math.max(0, Math.min(layer.bodies - 1, Math.floor(y / (body + GAP))));
    const joint = Math.max(0, Math.min(V - 1, Math.floor((y - which * (body + GAP)) / row)));
    return { t: Math.max(0, Math.min(view.clip.frames - 1, t)), body: which, joint: data.order[joint] };
  }

  return { paint, cursor, at };
}
