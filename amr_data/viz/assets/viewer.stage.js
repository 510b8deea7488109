"use strict";
// The bodies in three dimensions: panels side by side, or laid over each other, on floors that their feet touch.
function makeStage(view, canvas) {
  const { data } = view;
  const V = data.joints.length;
  const SPHERE = new THREE.SphereGeometry(0.022, 12, 8);
  const STICK = new THREE.CylinderGeometry(0.012, 0.012, 1, 8);
  const UP = new THREE.Vector3(0, 1, 0);
  const CELL = 0.5; // metres between the floor's lines
  const FAR = 1.2; // metres that somebody goes before the camera follows by itself
  const SMOOTH = 10; // frames before and after that the followed place is the mean of
  const gl = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true, preserveDrawingBuffer: true });
  gl.setPixelRatio(Math.min(devicePixelRatio, 2));
  const camera = new THREE.PerspectiveCamera(40, 1, 0.05, 200);
  let orbit = null, scene = null, groups = [], home = null, zUp = false, sized = false;

  function position(panel, body, t, joint, out) {
    const at = ((body * panel.frames + t) * V + joint) * 3;
    if (t >= panel.frames || panel.joints[at] === data.absent) return false;
    out.set(panel.joints[at] * panel.step, panel.joints[at + 1] * panel.step, panel.joints[at + 2] * panel.step);
    return true;
  }

  const held = (panel, t) => Math.min(t, panel.frames - 1); // shorter clips wait at their end
  const across = () => (zUp ? [0, 1] : [0, 2]);

  // The turn that lays a floor level: [height where both other axes are 0, its slope along each of them].
  function levelled(floor) {
    const [height, one, two] = floor || [0, 0, 0];
    const normal = zUp ? new THREE.Vector3(-one, -two, 1) : new THREE.Vector3(-one, 1, -two);
    const turn = new THREE.Quaternion().setFromUnitVectors(normal.normalize(), zUp ? new THREE.Vector3(0, 0, 1) : UP);
    const at = zUp ? new THREE.Vector3(0, 0, height) : new THREE.Vector3(0, height, 0);
    return { turn, height: at.applyQuaternion(turn).getComponent(zUp ? 2 : 1) };
  }

  // Where the main body stands in each frame, smoothed: the place that the camera follows.
  function walked(panel, turn) {
    const [a, b] = across(), point = new THREE.Vector3();
    const places = [];
    for (let t = 0; t < panel.frames; t++) {
      let place = null;
      for (let body = 0; body < panel.bodies && !place; body++) {
        let n = 0;
        const sum = [0, 0];
        for (let j = 0; j < V; j++) {
          if (!position(panel, body, t, j, point)) continue;
          point.applyQuaternion(turn);
          sum[0] += point.getComponent(a); sum[1] += point.getComponent(b); n++;
        }
        if (n) place = [sum[0] / n, sum[1] / n];
      }
      places.push(place);
    }
    const first = places.find(Boolean) || [0, 0];
    let before = first;
    const filled = places.map((place) => (before = place || before));
    const sums = [[0, 0]];
    filled.forEach(([x, y], t) => sums.push([sums[t][0] + x, sums[t][1] + y]));
    return filled.map((_, t) => {
      const low = Math.max(0, t - SMOOTH), high = Math.min(filled.length, t + SMOOTH + 1);
      return [0, 1].map((i) => (sums[high][i] - sums[low][i]) / (high - low));
    });
  }

  const range = (values) => Math.max(...values) - Math.min(...values);
  const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];

  // Extent of a panel's bodies about the place that is followed, or about their middle; a few frames that jump do not count.
  function extent(panel, turn, path, height) {
    const [a, b] = across(), up = zUp ? 2 : 1, point = new THREE.Vector3(), least = [[], [], []], most = [[], [], []];
    for (let t = 0; t < panel.frames; t += Math.max(1, Math.floor(panel.frames / 80))) {
      const [x, y] = path ? path[Math.min(t, path.length - 1)] : [0, 0];
      const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
      for (let body = 0; body < panel.bodies; body++) for (let j = 0; j < V; j++) {
        if (!position(panel, body, t, j, point)) continue;
        point.applyQuaternion(turn);
        [point.getComponent(a) - x, point.getComponent(b) - y, point.getComponent(up) - height].forEach((v, i) => {
          low[i] = Math.min(low[i], v); high[i] = Math.max(high[i], v);
        });
      }
      if (isFinite(low[0])) low.forEach((v, i) => { least[i].push(v); most[i].push(high[i]); });
    }
    const at = (values, q) => quantile(Float64Array.from(values).sort(), q);
    return least.map((values, i) => (values.length ? [at(values, 0.03), at(most[i], 0.97)] : [-1, 1]));
  }

  function build() {
    zUp = view.clip.up === 2;
    scene = new THREE.Scene();
    scene.add(new THREE.AmbientLight(0xffffff, 2.65));
    const light = new THREE.DirectionalLight(0xffffff, 0.55);
    light.position.set(zUp ? 2 : -2, 4, -3);
    scene.add(light);
    const paths = view.clips.map((clip) => {
      const { turn, height } = levelled(clip.panels[0].floor);
      return { turn, height, path: walked(clip.panels[0], turn) };
    });
    view.walks = paths.some(({ path }) => [0, 1].some((i) => range(path.map((p) => p[i])) > FAR));
    const follow = view.follows();
    const shown = view.panels.filter((panel) => !view.overlaid || panel.role);
    const boxes = shown.map((panel) => {
      const { turn, height, path } = paths[panel.owner];
      return extent(panel, turn, follow ? path : null, height);
    });
    const wide = Math.max(...boxes.map(([x]) => Math.min(x[1] - x[0], 6))) + 0.5;
    const deep = Math.max(...boxes.map(([, y]) => Math.min(y[1] - y[0], 6))) + 1.2;
    const columns = view.overlaid ? 1 : shown.length;
    groups = shown.map((panel, i) => {
      const { turn, height, path } = paths[panel.owner];
      const group = new THREE.Group(), holder = new THREE.Group();
      const ghost = view.overlaid && panel.role === "ghost";
      const material = () => new THREE.MeshLambertMaterial(ghost ? { transparent: true, opacity: 0.55, depthWrite: false } : {});
      const joints = new THREE.InstancedMesh(SPHERE, material(), panel.bodies * V);
      const bones = new THREE.InstancedMesh(STICK, material(), panel.bodies * data.bones.length);
      for (const mesh of [joints, bones]) { mesh.frustumCulled = false; group.add(mesh); }
      group.quaternion.copy(turn);
      holder.add(group);
      scene.add(holder);
      const column = view.overlaid ? 0 : i;
      const side = (column - (columns - 1) / 2) * wide * (zUp ? 1 : -1);
      const base = boxes[view.overlaid ? shown.findIndex((p) => p.owner === panel.owner) : i];
      const middle = [(base[0][0] + base[0][1]) / 2, (base[1][0] + base[1][1]) / 2];
      const floor = view.overlaid && i > 0 ? null : ground();
      if (floor) scene.add(floor);
      return { panel, group, holder, joints, bones, side, middle, height, ghost, floor, wide: columns > 1 ? wide : wide + 1.5, deep, path: follow ? path : null };
    });
    const top = Math.max(...boxes.map((box) => box[2][1]));
    const low = Math.min(0, ...boxes.map((box) => Math.max(box[2][0], -1)));
    home = { height: Math.min(Math.max(top - low, 0.8), 5), wide: wide * columns, middle: (Math.min(top, 5) + low) / 2 };
    front();
  }

  function ground() {
    const lines = new THREE.LineSegments(new THREE.BufferGeometry(), new THREE.LineBasicMaterial());
    lines.frustumCulled = false;
    return lines;
  }

  // The floor's lines under a panel; they go by where the panel is followed.
  function draw(floor, side, wide, deep, [x, y]) {
    const ends = [], lift = (a, b) => (zUp ? [side + a, b, 0] : [side + a, 0, b]);
    const from = (size, moved) => -size / 2 + ((((size / 2 - moved) % CELL) + CELL) % CELL);
    for (let a = from(wide, x); a <= wide / 2 + 1e-6; a += CELL) ends.push(...lift(a, -deep / 2), ...lift(a, deep / 2));
    for (let b = from(deep, y); b <= deep / 2 + 1e-6; b += CELL) ends.push(...lift(-wide / 2, b), ...lift(wide / 2, b));
    floor.geometry.dispose();
    floor.geometry = new THREE.BufferGeometry();
    floor.geometry.setAttribute("position", new THREE.BufferAttribute(new Float32Array(ends), 3));
    floor.material.color.set(view.dark() ? 0x3b424c : 0xccd1d8);
  }

  function front() {
    if (!home) return;
    const aspect = Math.max(camera.aspect, 0.2);
    const away = Math.max(home.height / 2, home.wide / 2 / aspect) / Math.tan((camera.fov * Math.PI) / 360) * 1.16 + 0.35;
    camera.up.set(0, zUp ? 0 : 1, zUp ? 1 : 0);
    if (orbit) orbit.dispose();
    orbit = new THREE.OrbitControls(camera, canvas);
    orbit.addEventListener("change", () => { view.dirty = true; });
    orbit.target.set(0, zUp ? 0 : home.middle, zUp ? home.middle : 0);
    const raised = home.middle + 0.12 * away;
    camera.position.set(0, zUp ? -away : raised, zUp ? raised : -away);
    orbit.update();
    view.dirty = true;
  }

  const a = new THREE.Vector3(), b = new THREE.Vector3(), to = new THREE.Vector3(), size = new THREE.Vector3();
  const matrix = new THREE.Matrix4(), turn = new THREE.Quaternion(), colour = new THREE.Color();
  const GONE = new THREE.Matrix4().makeScale(0, 0, 0);

  function jointLook(group, body, t, joint, layer, colours) {
    const { panel } = group;
    if (group.ghost) { colour.set(colours.ghost); return 0.9; }
    const value = layer ? view.value(layer, body, t, joint) : data.noValue;
    if (value !== data.noValue) {
      const [red, green, blue] = view.shade(layer, value);
      colour.setRGB(red / 255, green / 255, blue / 255, "srgb");
      return layer.states ? 1.2 : 0.9 + 0.9 * (value / (data.noValue - 1)) * (layer.top / layer.common);
    }
    if (panel.marked && panel.marked[(body * panel.frames + t) * V + joint]) { colour.set(colours.mark); return 1.7; }
    colour.set(layer ? colours.neutral : colours.bodies[body % colours.bodies.length]);
    return panel.marked ? 0.6 : 0.9;
  }

  function pose(time) {
    const colours = view.colours();
    let bodies = 0;
    for (const group of groups) {
      const { panel, joints, bones } = group;
      const t = held(panel, time), layer = view.colouring(panel);
      const [x, y] = group.path ? group.path[Math.min(t, group.path.length - 1)] : [0, 0];
      const moved = [x + group.middle[0], y + group.middle[1]];
      group.holder.position.set(group.side - moved[0], zUp ? -moved[1] : -group.height, zUp ? -group.height : -moved[1]);
      if (group.floor) draw(group.floor, group.side, group.wide, group.deep, moved);
      for (let body = 0; body < panel.bodies; body++) {
        let there = false;
        for (let j = 0; j < V; j++) {
          const at = body * V + j, seen = position(panel, body, t, j, a);
          there ||= seen;
          const big = jointLook(group, body, t, j, layer, colours) * (body ? 0.85 : 1);
          joints.setMatrixAt(at, seen ? matrix.makeScale(big, big, big).setPosition(a) : GONE);
          joints.setColorAt(at, colour);
        }
        if (there) bodies++;
        data.bones.forEach(([from, end], n) => {
          const at = body * data.bones.length + n;
          if (position(panel, body, t, from, a) && position(panel, body, t, end, b)) {
            const length = to.subVectors(b, a).length(), thick = body ? 0.7 : 1;
            turn.setFromUnitVectors(UP, length > 1e-6 ? to.divideScalar(length) : UP);
            matrix.compose(a.add(b).multiplyScalar(0.5), turn, size.set(thick, Math.max(length, 1e-6), thick));
            bones.setMatrixAt(at, matrix);
          } else bones.setMatrixAt(at, GONE);
          colour.set(group.ghost ? colours.ghost : layer ? colours.neutral : colours.bones[n]);
          bones.setColorAt(at, colour);
        });
      }
      for (const mesh of [joints, bones]) {
        mesh.instanceMatrix.needsUpdate = true;
        mesh.instanceColor.needsUpdate = true;
        mesh.computeBoundingSphere();
      }
    }
    scene.updateMatrixWorld();
    gl.render(scene, camera);
    canvas.dataset.bodies = bodies;
  }

  const point = new THREE.Vector3();
  function onScreen(group, body, t, joint) { // pixels from the canvas' corner
    if (!position(group.panel, body, t, joint, point)) return null;
    point.applyMatrix4(group.group.matrixWorld).project(camera);
    return point.z > 1 ? null : [((point.x + 1) / 2) * canvas.clientWidth, ((1 - point.y) / 2) * canvas.clientHeight];
  }

  function under(event, time) { // the joint nearest to the pointer
    const box = canvas.getBoundingClientRect();
    let best = null, near = 18;
    for (const group of groups) for (let body = 0; body < group.panel.bodies; body++) for (let j = 0; j < V; j++) {
      const at = onScreen(group, body, held(group.panel, time), j);
      const distance = at ? Math.hypot(event.clientX - box.left - at[0], event.clientY - box.top - at[1]) : Infinity;
      if (distance < near) { near = distance; best = [group.panel, body, held(group.panel, time), j]; }
    }
    return best;
  }

  // Where names belong: above each panel, and over the head of each body where there are several.
  function places(time) {
    const heads = [];
    for (const group of groups) {
      if (group.panel.bodies < 2 || group.ghost) continue;
      for (let body = 0; body < group.panel.bodies; body++) {
        let top = null;
        for (let j = 0; j < V; j++) {
          const at = onScreen(group, body, held(group.panel, time), j);
          if (at && (!top || at[1] < top[1])) top = at;
        }
        if (top) heads.push({ body, x: top[0], y: top[1] });
      }
    }
    const panels = groups.map((group) => {
      point.copy(orbit.target);
      point.x += group.side;
      return { panel: group.panel, ghost: group.ghost, x: ((point.project(camera).x + 1) / 2) * canvas.clientWidth };
    });
    return { panels, heads };
  }

  function resize(width, height) {
    if (!width || !height) return;
    gl.setSize(width, height, false);
    camera.aspect = width / height;
    camera.updateProjectionMatrix();
    if (!sized) { sized = true; front(); }
    view.dirty = true;
  }

  return { build, front, pose, under, places, resize };
}
