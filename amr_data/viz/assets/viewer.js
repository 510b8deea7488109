"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const embedded = data.clips !== null;
  const PAGE = 100;

  // --- where clips come from: the page itself, or the server -----------------------------------------------------------------------------
  const source = embedded
    ? {
        async list(query, from) {
          const words = query.toLowerCase().split(/\s+/).filter(Boolean);
          const found = data.clips
            .map((clip, index) => ({ index, title: clip.title }))
            .filter((row) => words.every((word) => row.title.toLowerCase().includes(word)));
          return { total: found.length, clips: found.slice(from, from + PAGE) };
        },
        async load(index) { return data.clips[index]; },
      }
    : {
        async list(query, from) { return fetched(`api/clips?q=${encodeURIComponent(query)}&from=${from}&count=${PAGE}`); },
        async load(index) { return fetched(`api/clips/${index}`); },
      };

  async function fetched(path) {
    const answer = await fetch(path);
    const content = await answer.json();
    if (!answer.ok) throw new Error(content.error);
    return content;
  }

  // --- state ------------------------------------------------------------------------------------------------------------------------------
  let clip = null, panels = [], layers = [], layer = null;
  let time = 0, playing = false, shown = -1, dirty = true, last = 0;
  let rows = [], total = 0, current = -1, asked = 0, wanted = 0;

  const amount = (v) => (v >= 10 ? Math.round(v).toString() : v.toPrecision(2));
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  function unpack(next) {
    panels = next.panels.map((p) => ({ ...p, joints: new Int16Array(bytes(p.joints).buffer) }));
    layers = next.layers.map((l) => ({ ...l, values: bytes(l.values) }));
  }

  // --- three dimensions -------------------------------------------------------------------------------------------------------------------
  const canvas = $("view");
  let gl = null, scene, camera, orbit, groups = [], grid = null, home = null;
  try {
    gl = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
    gl.setPixelRatio(Math.min(devicePixelRatio, 2));
    camera = new THREE.PerspectiveCamera(40, 1, 0.05, 200);
    orbit = new THREE.OrbitControls(camera, canvas);
    orbit.addEventListener("change", () => { dirty = true; });
  } catch (error) {
    $("trouble").hidden = false;
    $("trouble").textContent = "This browser shows no WebGL, so the bodies cannot be drawn; the map below works.";
  }
  const SPHERE = new THREE.SphereGeometry(0.022, 12, 8);
  const STICK = new THREE.CylinderGeometry(0.012, 0.012, 1, 8);
  const UP = new THREE.Vector3(0, 1, 0);

  function position(panel, body, t, joint, out) {
    const at = ((body * panel.frames + t) * data.joints.length + joint) * 3;
    if (t >= panel.frames || panel.joints[at] === data.absent) return false;
    out.set(panel.joints[at] * panel.step, panel.joints[at + 1] * panel.step, panel.joints[at + 2] * panel.step);
    return true;
  }

  function build() {
    if (!gl) return;
    scene = new THREE.Scene();
    scene.add(new THREE.AmbientLight(0xffffff, 2.2));
    const light = new THREE.DirectionalLight(0xffffff, 1.6);
    light.position.set(clip.up === 1 ? -2 : 2, 4, -3);
    scene.add(light);
    const zUp = clip.up === 2;
    const point = new THREE.Vector3();
    let width = 0;
    const boxes = panels.map((panel) => {
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      for (let body = 0; body < panel.bodies; body++) {
        for (let t = 0; t < panel.frames; t += Math.max(1, Math.floor(panel.frames / 60))) {
          for (let j = 0; j < data.joints.length; j++) {
            if (!position(panel, body, t, j, point)) continue;
            point.toArray().forEach((v, i) => { low[i] = Math.min(low[i], v); high[i] = Math.max(high[i], v); });
          }
        }
      }
      if (!isFinite(low[0])) { low.fill(-1); high.fill(1); }
      width = Math.max(width, Math.min(high[0] - low[0], 6) + 0.5);
      return { low, high };
    });
    groups = panels.map((panel, i) => {
      const group = new THREE.Group();
      const count = panel.bodies * data.joints.length;
      const joints = new THREE.InstancedMesh(SPHERE, new THREE.MeshLambertMaterial(), count);
      const bones = new THREE.InstancedMesh(STICK, new THREE.MeshLambertMaterial(), panel.bodies * data.bones.length);
      for (const mesh of [joints, bones]) { mesh.frustumCulled = false; group.add(mesh); }
      const { low, high } = boxes[i];
      const side = (i - (panels.length - 1) / 2) * width * (zUp ? 1 : -1);
      group.position.set(side - (low[0] + high[0]) / 2, zUp ? -(low[1] + high[1]) / 2 : 0, zUp ? 0 : -(low[2] + high[2]) / 2);
      scene.add(group);
      return { group, joints, bones, side };
    });
    const floor = Math.min(...boxes.map((b) => b.low[clip.up]));
    const top = Math.max(...boxes.map((b) => b.high[clip.up]));
    grid = ground(Math.ceil(width * panels.length + 2), 3);
    if (zUp) { grid.rotation.x = Math.PI / 2; grid.position.z = floor; } else grid.position.y = floor;
    scene.add(grid);
    const height = Math.min(Math.max(top - floor, 0.8), 5), middle = (Math.min(top, floor + 5) + floor) / 2;
    home = { height, wide: width * panels.length, middle };
    colourGrid();
    front();
  }

  function ground(wide, deep) { // half a metre a line
    const ends = [];
    for (let x = -wide / 2; x <= wide / 2; x += 0.5) ends.push(x, 0, -deep / 2, x, 0, deep / 2);
    for (let z = -deep / 2; z <= deep / 2; z += 0.5) ends.push(-wide / 2, 0, z, wide / 2, 0, z);
    const lines = new THREE.BufferGeometry();
    lines.setAttribute("position", new THREE.BufferAttribute(new Float32Array(ends), 3));
    return new THREE.LineSegments(lines, new THREE.LineBasicMaterial());
  }

  function front() {
    if (!gl || !home) return;
    const zUp = clip.up === 2, aspect = Math.max(camera.aspect, 0.2);
    const away = Math.max(home.height / 2, home.wide / 2 / aspect) / Math.tan((camera.fov * Math.PI) / 360) * 1.12 + 0.3;
    camera.up.set(0, zUp ? 0 : 1, zUp ? 1 : 0);
    orbit.dispose();
    orbit = new THREE.OrbitControls(camera, canvas);
    orbit.addEventListener("change", () => { dirty = true; });
    orbit.target.set(0, zUp ? 0 : home.middle, zUp ? home.middle : 0);
    camera.position.set(0, zUp ? -away : home.middle + 0.1, zUp ? home.middle + 0.1 : -away);
    orbit.update();
    dirty = true;
  }

  function colourGrid() {
    if (grid) grid.material.color.set(dark() ? 0x4a515b : 0xc3c8d0);
  }

  function place() { // each panel's name above its bodies
    const at = new THREE.Vector3(), width = canvas.clientWidth;
    [...$("panels").children].forEach((label, i) => {
      at.copy(orbit.target);
      at.x += groups[i].side;
      label.style.left = `${((at.project(camera).x + 1) / 2) * width}px`;
    });
  }

  const value = (l, body, t, joint) =>
    t < l.frames && body < l.bodies ? l.values[(body * l.frames + t) * data.joints.length + joint] : data.noValue;
  const shade = (l, v) => data.maps[l.colours][Math.min(63, Math.floor((v / (data.noValue - 1)) * 64))];

  function pose(t) {
    let bodies = 0;
    const a = new THREE.Vector3(), b = new THREE.Vector3(), to = new THREE.Vector3();
    const matrix = new THREE.Matrix4(), turn = new THREE.Quaternion(), size = new THREE.Vector3(), colour = new THREE.Color();
    const gone = new THREE.Matrix4().makeScale(0, 0, 0);
    panels.forEach((panel, i) => {
      const { joints, bones } = groups[i] || {};
      const active = i === 0 ? layer : null;
      for (let body = 0; body < panel.bodies; body++) {
        if (position(panel, body, t, 0, a)) bodies++;
        if (!gl) continue;
        for (let j = 0; j < data.joints.length; j++) {
          const there = position(panel, body, t, j, a), at = body * data.joints.length + j;
          const v = active ? value(active, body, t, j) : data.noValue;
          const big = active && v !== data.noValue ? 1.5 : 1;
          joints.setMatrixAt(at, there ? matrix.makeScale(big, big, big).setPosition(a) : gone);
          if (active && v !== data.noValue) colour.setRGB(...shade(active, v).map((c) => c / 255), "srgb");
          else colour.set(body % 2 ? 0x8d99a8 : 0x3f4752);
          joints.setColorAt(at, colour);
        }
        data.bones.forEach(([from, end], n) => {
          const at = body * data.bones.length + n;
          if (position(panel, body, t, from, a) && position(panel, body, t, end, b)) {
            const length = to.subVectors(b, a).length();
            turn.setFromUnitVectors(UP, length > 1e-6 ? to.divideScalar(length) : UP);
            matrix.compose(a.add(b).multiplyScalar(0.5), turn, size.set(1, Math.max(length, 1e-6), 1));
            bones.setMatrixAt(at, matrix);
          } else bones.setMatrixAt(at, gone);
          colour.set(active ? 0x9aa2ad : data.boneColours[n]);
          if (body % 2) colour.lerp(new THREE.Color(0xffffff), 0.35);
          bones.setColorAt(at, colour);
        });
      }
      if (gl) for (const mesh of [joints, bones]) {
        mesh.instanceMatrix.needsUpdate = true;
        mesh.instanceColor.needsUpdate = true;
        mesh.computeBoundingSphere();
      }
    });
    canvas.dataset.bodies = bodies;
    canvas.dataset.frame = t;
  }

  // --- the map of joints by frames --------------------------------------------------------------------------------------------------------
  const heat = $("heat");
  let picture = null;

  function paint() {
    $("map").hidden = !layer;
    if (!layer) return;
    const V = data.joints.length;
    picture = document.createElement("canvas");
    picture.width = layer.frames;
    picture.height = layer.bodies * V;
    const context = picture.getContext("2d"), image = context.createImageData(picture.width, picture.height);
    for (let body = 0; body < layer.bodies; body++) for (let row = 0; row < V; row++) for (let t = 0; t < layer.frames; t++) {
      const v = value(layer, body, t, data.order[row]), at = ((body * V + row) * layer.frames + t) * 4;
      const [r, g, b] = v === data.noValue ? [128, 128, 128] : shade(layer, v);
      image.data.set([r, g, b, v === data.noValue ? 60 : 255], at);
    }
    context.putImageData(image, 0, 0);
    $("scale").textContent = `${layer.title}: 0 to ${amount(layer.top)} ${layer.unit}`;
  }

  function heatBox() {
    const ratio = Math.min(devicePixelRatio, 2), w = heat.clientWidth, h = heat.clientHeight, rowHeight = h / picture.height;
    return { ratio, w, h, left: w < 500 ? 0 : rowHeight >= 8.5 ? 128 : 76, rowHeight };
  }

  function cursor(t) {
    if (!layer || !heat.clientWidth) return;
    const { ratio, w, h, left, rowHeight } = heatBox();
    if (heat.width !== Math.round(w * ratio) || heat.height !== Math.round(h * ratio)) { heat.width = Math.round(w * ratio); heat.height = Math.round(h * ratio); }
    const context = heat.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, left, 0, w - left, h);
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--ink"), V = data.joints.length;
    const every = rowHeight >= 8.5; // room for each joint's name, else for those of the parts
    context.font = `${every ? Math.min(11, rowHeight * 0.95) : 11}px system-ui, sans-serif`;
    context.textAlign = "right"; context.textBaseline = "middle";
    for (let body = 0, row = 0; body < layer.bodies; body++) {
      for (const [name, count] of data.parts) {
        const y = row * rowHeight;
        context.fillStyle = "rgba(255,255,255,.55)";
        if (row) context.fillRect(left, y - (row % V ? 0.5 : 1.5), w - left, row % V ? 1 : 3);
        context.fillStyle = ink;
        if (left && !every) context.fillText(name, left - 4, y + (count * rowHeight) / 2);
        for (let i = 0; left && every && i < count; i++) context.fillText(data.joints[data.order[(row + i) % V]], left - 4, (row + i + 0.5) * rowHeight);
        row += count;
      }
    }
    const x = left + ((t + 0.5) / layer.frames) * (w - left);
    context.fillStyle = "#fff"; context.fillRect(x - 1.5, 0, 3, h);
    context.fillStyle = "#000"; context.fillRect(x - 0.5, 0, 1, h);
    heat.dataset.cursor = t;
  }

  function heatAt(event) {
    const box = heat.getBoundingClientRect(), { left, w, rowHeight } = heatBox();
    const t = Math.floor(((event.clientX - box.left - left) / (w - left)) * layer.frames);
    const row = Math.max(0, Math.min(picture.height - 1, Math.floor((event.clientY - box.top) / rowHeight)));
    return { t: Math.max(0, Math.min(layer.frames - 1, t)), body: Math.floor(row / data.joints.length), joint: data.order[row % data.joints.length] };
  }

  heat.addEventListener("pointerdown", (event) => { if (layer) { heat.setPointerCapture(event.pointerId); pause(); seek(heatAt(event).t); } });
  heat.addEventListener("pointermove", (event) => {
    if (!layer) return;
    const { t, body, joint } = heatAt(event);
    if (event.buttons) seek(t);
    hint(event, label(0, body, t, joint) + ` · frame ${t}`);
  });
  heat.addEventListener("pointerleave", () => hint());

  // --- names under the pointer ------------------------------------------------------------------------------------------------------------
  function label(panel, body, t, joint) {
    const many = panels[panel].bodies > 1 ? `, body ${body + 1}` : "";
    const v = layer && panel === 0 ? value(layer, body, t, joint) : data.noValue;
    const said = v === data.noValue ? "" : `: ${amount((v / (data.noValue - 1)) * layer.top)} ${layer.unit}`;
    return data.joints[joint] + many + said;
  }

  function hint(event, text) {
    const box = $("hint");
    box.hidden = !text;
    if (!text) return;
    const stage = $("stage").getBoundingClientRect();
    box.textContent = text;
    box.style.left = `${Math.max(0, Math.min(event.clientX - stage.left + 12, stage.width - box.offsetWidth - 4))}px`;
    box.style.top = `${Math.min(event.clientY - stage.top - 30, stage.height - 30)}px`;
  }

  function under(event) {
    const box = canvas.getBoundingClientRect(), point = new THREE.Vector3();
    let best = null, near = 18;
    panels.forEach((panel, i) => {
      for (let body = 0; body < panel.bodies; body++) for (let j = 0; j < data.joints.length; j++) {
        if (!position(panel, body, shown, j, point)) continue;
        point.add(groups[i].group.position).project(camera);
        if (point.z > 1) continue;
        const x = box.left + ((point.x + 1) / 2) * box.width, y = box.top + ((1 - point.y) / 2) * box.height;
        const distance = Math.hypot(event.clientX - x, event.clientY - y);
        if (distance < near) { near = distance; best = [i, body, shown, j]; }
      }
    });
    return best;
  }
  canvas.addEventListener("pointermove", (event) => {
    if (!gl || !clip || event.buttons) return;
    const found = under(event);
    hint(event, found ? label(...found) : "");
  });
  canvas.addEventListener("pointerup", (event) => { if (gl && clip) { const found = under(event); hint(event, found ? label(...found) : ""); } });
  canvas.addEventListener("pointerleave", () => hint());

  // --- time -------------------------------------------------------------------------------------------------------------------------------
  function seek(t) { if (clip) { time = Math.max(0, Math.min(clip.frames - 1, t)); dirty = true; } }
  function pause() { playing = false; $("play").textContent = "▶"; $("play").setAttribute("aria-pressed", "false"); }
  function toggle() {
    if (!clip) return;
    if (playing) return pause();
    if (time >= clip.frames - 1) time = 0;
    playing = true; $("play").textContent = "❚❚"; $("play").setAttribute("aria-pressed", "true");
  }

  function tick(now) {
    const passed = Math.min(now - last, 250);
    last = now;
    if (playing && clip) {
      time += (passed / 1000) * clip.rate * Number($("speed").value);
      if (time >= clip.frames) time = clip.frames > 1 ? time % clip.frames : 0; // from the beginning again
    }
    const t = Math.floor(time);
    if (clip && (dirty || t !== shown)) {
      if (t !== shown) { $("scrub").value = t; $("frame").textContent = `${t} / ${clip.frames - 1}`; }
      shown = t;
      pose(t);
      cursor(t);
      if (gl) { gl.render(scene, camera); place(); }
      dirty = false;
    }
    requestAnimationFrame(tick);
  }

  // --- clips ------------------------------------------------------------------------------------------------------------------------------
  async function open(index) {
    const ticket = ++wanted;
    let next;
    try { next = await source.load(index); } catch (error) { return trouble(error); }
    if (ticket !== wanted) return; // another clip was chosen meanwhile
    $("trouble").hidden = Boolean(gl);
    clip = next; current = index;
    unpack(clip);
    const before = layer && layer.title;
    $("layer").replaceChildren(new Option("body parts", ""), ...layers.map((l) => new Option(l.title, l.title)));
    layer = layers.find((l) => l.title === before) || (before === null && $("layer").dataset.none ? null : layers[0]) || null;
    $("layer").value = layer ? layer.title : "";
    $("title").textContent = document.title = clip.title;
    $("panels").replaceChildren(...(panels.length > 1 ? panels : []).map((p) => Object.assign(document.createElement("span"), { textContent: p.title })));
    $("scrub").max = clip.frames - 1;
    shown = -1; time = 0;
    build(); paint(); mark();
    dirty = true;
  }

  function trouble(error) { $("trouble").hidden = false; $("trouble").textContent = error.message; }

  function mark() {
    for (const button of $("list").querySelectorAll("button")) {
      const here = Number(button.dataset.index) === current;
      button.setAttribute("aria-current", String(here));
      if (here) button.scrollIntoView({ block: "nearest" });
    }
  }

  async function search(more) {
    const ticket = ++asked;
    let found;
    try { found = await source.list($("search").value, more ? rows.length : 0); } catch (error) { return trouble(error); }
    if (ticket !== asked) return;
    rows = more ? rows.concat(found.clips) : found.clips;
    total = found.total;
    $("count").textContent = `${total.toLocaleString("en")} ${total === 1 ? "clip" : "clips"}`;
    const made = found.clips.map((row) => {
      const item = document.createElement("li"), button = document.createElement("button");
      button.textContent = row.title;
      button.dataset.index = row.index;
      button.addEventListener("click", () => { open(row.index); if (innerWidth <= 700) $("gallery").hidden = true; });
      item.append(button);
      return item;
    });
    if (more) $("list").append(...made); else $("list").replaceChildren(...made);
    $("more").hidden = rows.length >= total;
    mark();
  }

  function neighbour(step) {
    const at = rows.findIndex((row) => row.index === current) + step;
    if (rows[at]) open(rows[at].index);
  }

  // --- controls ---------------------------------------------------------------------------------------------------------------------------
  const dark = () => document.documentElement.dataset.theme === "dark";
  function theme(to) { document.documentElement.dataset.theme = to ? "dark" : "light"; colourGrid(); dirty = true; }
  function choose(title) { layer = layers.find((l) => l.title === title) || null; $("layer").value = title; $("layer").dataset.none = layer ? "" : "1"; paint(); dirty = true; requestAnimationFrame(resize); }
  function faster(step) { const s = $("speed"); s.selectedIndex = Math.max(0, Math.min(s.options.length - 1, s.selectedIndex + step)); }

  $("play").addEventListener("click", toggle);
  $("scrub").addEventListener("input", () => { pause(); seek(Number($("scrub").value)); });
  $("layer").addEventListener("change", () => choose($("layer").value));
  $("reset").addEventListener("click", front);
  $("theme").addEventListener("click", () => theme(!dark()));
  $("menu").addEventListener("click", () => { $("gallery").hidden = !$("gallery").hidden; });
  $("more").addEventListener("click", () => search(true));
  let typing = 0;
  $("search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => search(false), embedded ? 0 : 150); });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !clip) return;
    if (["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "range") return;
    if (event.key === " " && event.target.tagName === "BUTTON") return; // the button's own
    const jump = event.shiftKey ? 10 : 1;
    const does = {
      " ": toggle, ArrowRight: () => { pause(); seek(Math.floor(time) + jump); }, ArrowLeft: () => { pause(); seek(Math.floor(time) - jump); },
      Home: () => seek(0), End: () => seek(clip.frames - 1), ArrowDown: () => neighbour(1), ArrowUp: () => neighbour(-1),
      "+": () => faster(1), "=": () => faster(1), "-": () => faster(-1), r: front, d: () => theme(!dark()),
      l: () => { const s = $("layer"); choose(s.options[(s.selectedIndex + 1) % s.options.length].value); },
    }[event.key];
    if (does) { event.preventDefault(); does(); }
  });

  function resize() {
    const { clientWidth: w, clientHeight: h } = $("stage");
    if (gl && w && h) {
      const fresh = !camera.userData.sized;
      gl.setSize(w, h, false);
      camera.aspect = w / h;
      camera.updateProjectionMatrix();
      camera.userData.sized = true;
      if (fresh) front();
    }
    dirty = true;
  }
  new ResizeObserver(resize).observe($("stage"));

  theme(matchMedia("(prefers-color-scheme: dark)").matches);
  const gallery = !embedded || data.clips.length > 1;
  $("gallery").hidden = !gallery || innerWidth <= 700;
  $("menu").hidden = !gallery;
  resize();
  search(false).then(() => { if (rows.length) return open(rows[0].index); }).then(() => { document.body.dataset.ready = "1"; });
  requestAnimationFrame(tick);
})();
