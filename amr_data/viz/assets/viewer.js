"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const PAGE = 100;
  const MOST = 6; // clips in step
  const phone = () => innerWidth <= 700;

  function matching(query, from) {
    const words = query.toLowerCase().split(/\s+/).filter(Boolean);
    const found = data.clips
      .map((clip, index) => ({ index, title: clip.title }))
      .filter((row) => words.every((word) => row.title.toLowerCase().includes(word)));
    return { total: found.length, clips: found.slice(from, from + PAGE) };
  }

  // --- state ------------------------------------------------------------------------------------------------------------------------------
  let time = 0, playing = false, last = 0, shown = -1, frames = 0;
  let rows = [], total = 0, focus = 0, chosen = "", following = null;
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const dark = () => document.documentElement.dataset.theme === "dark";

  // what the stage, the map and the marks share
  const view = {
    data, clips: [], panels: [], clip: null, overlaid: false, walks: false, dirty: true, dark, seek, pause,
    colours: () => data.themes[dark() ? "dark" : "light"],
    follows: () => (following === null ? view.walks : following),
    frames: () => frames, // of the longest clip in step
    marks: () => marks.all(),
    gutters: () => ($("timeline").clientWidth < 500 ? { left: 18, right: 40 } : { left: 132, right: 64 }),
    amount: (v) => (v >= 10 ? Math.round(v).toString() : v.toPrecision(2)),
    value: (layer, body, t, joint) =>
      t < layer.frames && body < layer.bodies ? layer.values[(body * layer.frames + t) * data.joints.length + joint] : data.noValue,
    shade(layer, v) {
      if (layer.states) return view.colours().states[v > data.noValue / 2 ? 1 : 0];
      const scale = view.colours().maps[layer.colours], part = (v / (data.noValue - 1)) * (layer.top / layer.common);
      return scale[Math.min(scale.length - 1, Math.floor(part * scale.length))];
    },
    // the layer that a panel's joints are coloured by, null for left and right
    colouring: (panel) => (chosen && panel.first ? view.clips[panel.owner].layers.find((l) => l.title === chosen) || null : null),
  };
  const marks = makeMarks(view, $("tracks"), $("ticks")), map = makeMap(view, $("heat"));
  let stage = null;
  try { stage = makeStage(view, $("view")); } catch (error) {
    trouble(new Error("This browser shows no WebGL, so the bodies cannot be drawn; the map below works."));
  }

  function unpacked(clip) {
    const panels = clip.panels.map((p) => ({ ...p, joints: new Int16Array(bytes(p.joints).buffer), marked: p.marked ? bytes(p.marked) : null }));
    return { ...clip, panels, layers: clip.layers.map((l) => ({ ...l, values: bytes(l.values) })) };
  }

  const mapped = () => view.clip.layers.find((l) => l.title === chosen) || view.clip.layers[0] || null;

  // --- clips ------------------------------------------------------------------------------------------------------------------------------
  function open(index, frame) {
    view.clips = [{ ...unpacked(data.clips[index]), index }];
    focus = 0;
    arrange(frame || 0);
  }

  function beside(index) { // another clip in step with those that are there, or no longer
    const at = view.clips.findIndex((clip) => clip.index === index);
    if (at >= 0 && view.clips.length > 1) view.clips.splice(at, 1);
    else if (at < 0 && view.clips.length < MOST) view.clips.push({ ...unpacked(data.clips[index]), index });
    focus = Math.min(focus, view.clips.length - 1);
    arrange(time);
  }

  function arrange(frame) {
    const several = view.clips.length > 1;
    view.panels = view.clips.flatMap((clip, owner) =>
      (several ? clip.panels.slice(0, 1) : clip.panels).map((panel, i) => ({
        ...panel, owner, first: i === 0, title: several ? clip.name : panel.title,
        role: i === 0 && owner === 0 ? "base" : several || panel.ghost ? "ghost" : "",
      })));
    frames = Math.max(...view.clips.map((clip) => clip.frames));
    for (const layer of view.clips.flatMap((clip) => clip.layers)) {
      layer.common = Math.max(...view.clips.flatMap((clip) => clip.layers.filter((l) => l.title === layer.title).map((l) => l.top)));
    }
    const ghosts = view.panels.some((panel) => panel.role === "ghost");
    $("overlay").hidden = !ghosts;
    view.overlaid = view.overlaid && ghosts;
    $("trouble").hidden = Boolean(stage);
    $("scrub").max = frames - 1;
    time = Math.max(0, Math.min(frames - 1, frame));
    look();
    listed();
  }

  function look() { // after another clip came to the front
    view.clip = view.clips[focus];
    const titles = view.clip.layers.map((l) => l.title);
    if (!titles.includes(chosen)) chosen = "";
    $("layer").replaceChildren(new Option("left and right", ""), ...titles.map((title) => new Option(title, title)));
    $("layer").value = chosen;
    $("title").textContent = $("title").title = document.title = view.clip.title;
    restage();
    repaint();
  }

  function restage() {
    if (stage) { stage.build(); if (following === null) stage.build(); } // again, now that it is known whether somebody walks
    $("panels").replaceChildren(...(view.panels.length > 1 ? view.panels : []).map((panel) => {
      const label = document.createElement("button");
      label.textContent = label.title = panel.title;
      label.setAttribute("aria-pressed", String(view.clips.length > 1 && panel.owner === focus));
      label.disabled = view.clips.length < 2;
      label.addEventListener("click", () => { focus = panel.owner; look(); });
      return label;
    }));
    $("follow").setAttribute("aria-pressed", String(view.follows()));
    $("overlay").setAttribute("aria-pressed", String(view.overlaid));
    shown = -1;
    view.dirty = true;
  }

  function repaint() {
    const layer = mapped(), { left, right } = view.gutters(), tracks = view.clip.tracks || [];
    $("timeline").style.cssText = `--left: ${left}px; --right: ${right}px; --frames: ${frames}`;
    $("map").hidden = !layer;
    map.paint(layer);
    marks.show(tracks, view.clip.frames);
    $("timeline").style.setProperty("--share", view.clip.frames / frames); // of the longest clip in step
    for (const id of ["before", "after"]) $(id).hidden = !tracks.length;
    const { left: cool, right: warm, mark, ghost } = view.colours();
    const both = ([arm, leg]) => `linear-gradient(90deg, ${arm} 50%, ${leg} 50%)`;
    $("legend").style.cssText = `--cool: ${both(cool)}; --warm: ${both(warm)}; --mark: ${mark}; --ghost: ${ghost}`;
    for (const side of document.querySelectorAll("#legend .left, #legend .right")) side.hidden = Boolean(chosen) || !data.sided;
    $("seen").hidden = Boolean(chosen) || !view.panels.some((panel) => panel.marked);
    $("overlaid").hidden = !view.overlaid;
    $("overlaid").textContent = view.panels.filter((p) => p.role === "ghost").map((p) => p.title).join(", ");
    view.dirty = true;
  }

  function trouble(error) { $("trouble").hidden = false; $("trouble").textContent = error.message; }

  // --- the list ---------------------------------------------------------------------------------------------------------------------------
  function listed() {
    for (const item of $("list").children) {
      const button = item.querySelector("button"), box = item.querySelector("input"), index = Number(button.dataset.index);
      const here = view.clips.length > 0 && index === view.clip.index;
      box.checked = view.clips.some((clip) => clip.index === index);
      box.disabled = box.checked ? view.clips.length < 2 : view.clips.length >= MOST;
      button.setAttribute("aria-current", String(here));
      if (here) button.scrollIntoView({ block: "nearest" });
    }
  }

  function search(more) {
    const found = matching($("search").value, more ? rows.length : 0);
    rows = more ? rows.concat(found.clips) : found.clips;
    total = found.total;
    $("count").textContent = `${total.toLocaleString("en")} ${total === 1 ? "clip" : "clips"}`;
    const made = found.clips.map((row) => {
      const item = document.createElement("li"), box = document.createElement("input"), button = document.createElement("button");
      button.textContent = row.title;
      button.dataset.index = row.index;
      button.addEventListener("click", (event) => {
        if (event.shiftKey) return beside(row.index);
        open(row.index);
        if (phone()) drawer(false);
      });
      box.type = "checkbox";
      box.title = "show in step with the others";
      box.setAttribute("aria-label", `${row.title}: in step with the others`);
      box.addEventListener("change", () => beside(row.index));
      item.append(box, button);
      return item;
    });
    if (more) $("list").append(...made); else $("list").replaceChildren(...made);
    $("more").hidden = rows.length >= total;
    listed();
  }

  function neighbour(step) {
    const at = rows.findIndex((row) => row.index === view.clip.index) + step;
    if (rows[at]) open(rows[at].index);
  }

  function drawer(to) { // the list, which covers a phone's screen
    $("gallery").hidden = !to;
    $("scrim").hidden = !(to && phone());
    $("menu").setAttribute("aria-expanded", String(to));
    if (to) $("close").focus(); else if (phone()) $("menu").focus();
  }

  // --- names under the pointer ------------------------------------------------------------------------------------------------------------
  function label(panel, body, t, joint) {
    const layer = view.colouring(panel) || (panel.owner === focus && panel.first ? mapped() : null);
    const v = layer ? view.value(layer, body, t, joint) : data.noValue;
    const measured = layer && layer.states ? layer.states[v > data.noValue / 2 ? 1 : 0] : layer && `${view.amount((v / (data.noValue - 1)) * layer.top)} ${layer.unit}`;
    return data.joints[joint] + (panel.bodies > 1 ? `, body ${body + 1}` : "") + (v === data.noValue ? "" : `: ${measured}`);
  }

  function hint(event, text) {
    const box = $("hint");
    box.hidden = !text;
    if (!text) return;
    const around = $("stage").getBoundingClientRect();
    box.textContent = text;
    box.style.left = `${Math.max(0, Math.min(event.clientX - around.left + 12, around.width - box.offsetWidth - 4))}px`;
    box.style.top = `${Math.min(event.clientY - around.top - 30, around.height - 30)}px`;
  }

  // --- time -------------------------------------------------------------------------------------------------------------------------------
  function seek(t) { if (view.clip) { time = Math.max(0, Math.min(frames - 1, t)); view.dirty = true; } }
  function pause() { playing = false; $("play").textContent = "▶"; $("play").setAttribute("aria-pressed", "false"); }
  function toggle() {
    if (!view.clip) return;
    if (playing) return pause();
    if (time >= frames - 1) time = 0;
    playing = true; $("play").textContent = "❚❚"; $("play").setAttribute("aria-pressed", "true");
  }
  function jump(direction) {
    const place = marks.step(direction, Math.floor(time));
    if (place !== undefined) { pause(); seek(place); }
  }

  function tick(now) {
    const passed = Math.min(now - last, 250);
    last = now;
    if (playing && view.clip) {
      time += (passed / 1000) * view.clip.rate * Number($("speed").value);
      if (time >= frames) time = frames > 1 ? time % frames : 0; // from the beginning again
    }
    if (view.clip && (view.dirty || Math.floor(time) !== shown)) draw(Math.floor(time));
    requestAnimationFrame(tick);
  }

  function draw(t) {
    if (t !== shown) {
      $("scrub").value = t;
      $("frame").textContent = `${t} / ${frames - 1}`;
      $("frame").title = `${(t / view.clip.rate).toFixed(2)} s`;
      marks.now(t);
    }
    shown = t;
    map.cursor(t);
    if (stage) { stage.pose(t); names(t); }
    $("view").dataset.frame = t;
    view.dirty = false;
  }

  function names(t) {
    const { panels, heads } = stage.places(t), colours = view.colours().bodies;
    const { clientWidth: width, clientHeight: height } = $("stage"); // shares of it, so that they hold on paper too
    const titled = !view.overlaid && panels.length > 1, room = 100 / Math.max(1, view.overlaid ? 1 : panels.length);
    for (const label of $("panels").children) label.hidden = true;
    if (!view.overlaid) panels.forEach(({ panel, x }) => {
      const label = $("panels").children[view.panels.indexOf(panel)];
      if (label) { label.hidden = false; label.style.cssText = `left: ${100 * x / width}%; max-width: calc(${room}% - 8px)`; }
    });
    while ($("heads").children.length < heads.length) $("heads").append(document.createElement("span"));
    [...$("heads").children].forEach((label, i) => {
      label.hidden = !heads[i];
      if (!heads[i]) return;
      label.textContent = heads[i].body + 1;
      const y = Math.max(heads[i].y, titled ? 54 : 24); // below the titles
      label.style.cssText = `left: ${100 * heads[i].x / width}%; top: ${100 * y / height}%; --mark: ${colours[heads[i].body % colours.length]}`;
    });
  }

  // --- controls ---------------------------------------------------------------------------------------------------------------------------
  function theme(to) { document.documentElement.dataset.theme = to ? "dark" : "light"; if (view.clip) { repaint(); marks.now(shown); } }
  function choose(title) { chosen = title; $("layer").value = title; repaint(); marks.now(shown); }
  function faster(step) { const s = $("speed"); s.selectedIndex = Math.max(0, Math.min(s.options.length - 1, s.selectedIndex + step)); }
  function follow() { following = !view.follows(); restage(); }
  function overlay() { if (!$("overlay").hidden) { view.overlaid = !view.overlaid; restage(); repaint(); } }
  const front = () => { if (stage) stage.front(); };

  $("play").addEventListener("click", toggle);
  $("before").addEventListener("click", () => jump(-1));
  $("after").addEventListener("click", () => jump(1));
  $("scrub").addEventListener("input", () => { pause(); seek(Number($("scrub").value)); });
  $("layer").addEventListener("change", () => choose($("layer").value));
  $("follow").addEventListener("click", follow);
  $("overlay").addEventListener("click", overlay);
  $("reset").addEventListener("click", front);
  $("theme").addEventListener("click", () => theme(!dark()));
  $("menu").addEventListener("click", () => drawer($("gallery").hidden));
  $("close").addEventListener("click", () => drawer(false));
  $("scrim").addEventListener("click", () => drawer(false));
  $("more").addEventListener("click", () => search(true));
  $("search").addEventListener("input", () => search(false));

  const heat = $("heat"), canvas = $("view");
  heat.addEventListener("pointerdown", (event) => { heat.setPointerCapture(event.pointerId); pause(); seek(map.at(event).t); });
  heat.addEventListener("pointermove", (event) => {
    const { t, body, joint } = map.at(event);
    if (event.buttons) seek(t);
    const layer = mapped(), panel = view.panels.find((p) => p.owner === focus && p.first);
    hint(event, layer.bodies > body ? `${label(panel, body, t, joint)} · frame ${t}` : "");
  });
  const pointed = (event) => {
    const found = stage && view.clip && stage.under(event, shown);
    hint(event, found ? label(...found) : "");
  };
  canvas.addEventListener("pointermove", (event) => { if (!event.buttons) pointed(event); });
  canvas.addEventListener("pointerup", pointed);
  for (const one of [heat, canvas]) one.addEventListener("pointerleave", () => hint());

  addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !$("scrim").hidden) return drawer(false);
    if (event.ctrlKey || event.metaKey || event.altKey || !view.clip) return;
    const { tagName: tag, type } = event.target;
    if (tag === "SELECT" || (tag === "INPUT" && !["range", "checkbox"].includes(type))) return;
    if (event.key === " " && (tag === "BUTTON" || type === "checkbox")) return; // their own
    const far = event.shiftKey ? 10 : 1;
    const does = {
      " ": toggle, ArrowRight: () => { pause(); seek(Math.floor(time) + far); }, ArrowLeft: () => { pause(); seek(Math.floor(time) - far); },
      Home: () => seek(0), End: () => seek(frames - 1), ArrowDown: () => neighbour(1), ArrowUp: () => neighbour(-1),
      n: () => jump(1), p: () => jump(-1), f: follow, g: overlay,
      "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1), r: front, d: () => theme(!dark()),
      l: () => { const s = $("layer"); choose(s.options[(s.selectedIndex + 1) % s.options.length].value); },
    }[event.key];
    if (does) { event.preventDefault(); does(); }
  });

  // paper is white, whatever the screen is, and the picture keeps its shape, since nothing is drawn anew for paper
  let before = false;
  addEventListener("beforeprint", () => {
    before = dark();
    theme(false);
    $("stage").style.setProperty("--shape", $("stage").clientWidth / $("stage").clientHeight);
    if (view.clip) draw(shown);
  });
  addEventListener("afterprint", () => theme(before));

  function resize() {
    if (stage) stage.resize($("stage").clientWidth, $("stage").clientHeight);
    if (view.clip) { const { left, right } = view.gutters(); $("timeline").style.setProperty("--left", `${left}px`); $("timeline").style.setProperty("--right", `${right}px`); }
    if (!phone()) $("scrim").hidden = true;
    view.dirty = true;
  }
  for (const id of ["stage", "map"]) new ResizeObserver(resize).observe($(id));

  theme(matchMedia("(prefers-color-scheme: dark)").matches);
  const gallery = data.clips.length > 1;
  $("gallery").hidden = !gallery || phone();
  $("menu").hidden = !gallery;
  resize();
  search(false);
  if (rows.length) open(rows[0].index);
  document.body.dataset.ready = "1";
  requestAnimationFrame(tick);
})();
