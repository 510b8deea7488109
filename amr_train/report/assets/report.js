// What the page does: which experiments are shown, which are compared, which cell's clips are listed. Every name is written as text.
const data = JSON.parse(document.getElementById('data').textContent);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const element = (tag, text, parent) => { const e = document.createElement(tag); e.textContent = text; if (parent) parent.append(e); return e; };
const widthOf = (node) => Math.max(240, Math.floor(node.clientWidth));

// experiments in the order of the tables; baselines are grey
const experiments = new Map();
for (const section of data.sections) for (const line of section.lines) if (!experiments.has(line.experiment)) experiments.set(line.experiment, line.kind);
for (const chart of data.curves) for (const line of chart.lines) if (!experiments.has(line.experiment)) experiments.set(line.experiment, 'encoder');
for (const detail of data.details) if (!experiments.has(detail.name)) experiments.set(detail.name, 'encoder');
const looks = new Map(), pressed = new Map();
let next = 0;
for (const [name, kind] of experiments) {
  const grey = kind === 'coordinates' || kind === 'untrained';
  looks.set(name, grey ? { colour: GREY, symbol: kind === 'untrained' ? 'square' : 'circle' } : look(next++));
  pressed.set(name, true);
}

// ---- which are shown
const words = document.getElementById('words'), runs = document.getElementById('runs');
const matches = (name) => words.value.toLowerCase().split(/\s+/).every((word) => (word.length > 1 && word[0] === '-' ? !name.toLowerCase().includes(word.slice(1)) : word === '-' || name.toLowerCase().includes(word)));
const shown = (name) => (pressed.get(name) ?? true) && matches(name);
for (const name of experiments.keys()) {
  const button = element('button', '', runs);
  button.type = 'button';
  button.append(key(looks.get(name).colour, looks.get(name).symbol), name);
  button.dataset.name = name;
  button.addEventListener('click', () => { pressed.set(name, !pressed.get(name)); update(); });
}
document.getElementById('every').addEventListener('click', () => { words.value = ''; for (const name of pressed.keys()) pressed.set(name, true); update(); });
document.getElementById('filter').addEventListener('submit', (event) => event.preventDefault());
words.addEventListener('input', () => update());

function update() {
  for (const button of runs.children) button.setAttribute('aria-pressed', String(shown(button.dataset.name)));
  for (const row of all('[data-experiment]')) row.hidden = !shown(row.dataset.experiment);
  const count = [...experiments.keys()].filter(shown).length;
  document.getElementById('count').textContent = `${count} of ${experiments.size} shown`;
  draw();
}

// ---- pictures
const put = (node, picture) => node.replaceChildren(picture);
const nothing = (text) => { const p = document.createElement('p'); p.className = 'note'; p.textContent = text; return p; };

function draw() {
  for (const node of all('.panels.dots')) drawDots(node, data.sections[node.dataset.section]);
  for (const node of all('.chart.differences')) drawDifferences(node, data.sections[node.dataset.section]);
  for (const node of all('.costs')) drawCosts(node, data.sections[node.dataset.section]);
  drawCurves();
  for (const node of all('.detail')) if (!node.hidden) drawDetail(node, data.details[node.dataset.detail]);
}

const panel = (parent, title) => {
  const box = document.createElement('div'), chart = document.createElement('div');
  box.className = 'panel';
  element('h4', title, box);
  chart.className = 'chart';
  if (parent.dataset.mark) {
    box.classList.add('marked');
    box.dataset.mark = parent.dataset.mark;
  }
  box.append(chart);
  parent.append(box);
  return chart;
};
// all panels stand before any is drawn, so that each knows its width
const putAll = (drawn) => { for (const [chart, picture] of drawn) put(chart, picture(chart)); };

function drawDots(node, section) {
  const drawn = [];
  node.replaceChildren();
  for (const figure of section.figures) {
    const rows = figure.rows.filter((row) => shown(section.lines[row.line].experiment)).map((row) => {
      const line = section.lines[row.line], mean = `mean ${fixed(row.mean)}${row.seeds.length > 1 ? ` \u00b1 ${fixed(row.std)}, n ${row.seeds.length}` : ''}`;
      const where = row.interval ? `\n95 % of ${row.of === 'seeds' ? 'the mean' : 'clips like these'}: ${between(row.interval)}` : '';
      const print = row.published != null ? `\npublished ${fixed(row.published)}` : row.in_print != null ? `\nin print ${fixed(row.in_print)}, not comparable` : '';
      return { name: `${line.label}: ${fixed(row.mean)}${row.seeds.length > 1 ? ` \u00b1 ${fixed(row.std)}` : ''}`, ...looks.get(line.experiment), values: row.values, mean: row.mean, interval: row.interval, dashed: row.of === 'clips', published: row.published,
        tips: row.values.map((value, n) => `${lineOf(line.label, 44)}\n${figure.name}, seed ${row.seeds[n]}: ${fixed(value, 2)} %\n${mean}${where}${print}`) };
    });
    if (!rows.length) continue;
    drawn.push([panel(node, `${figure.name}, %`), (chart) => dotRows(rows, { width: widthOf(chart), least: 2, aria: `${figure.name} of ${rows.length} experiments` })]);
  }
  putAll(drawn);
  if (!node.children.length) put(node, nothing('No experiment of this table is shown.'));
}

const pairOf = (figure, one, other) => {
  for (const pair of figure.pairs) {
    if (pair.one === one && pair.other === other) return pair;
    if (pair.one === other && pair.other === one) return { ...pair, mean: -pair.mean, values: pair.values.map((v) => -v), interval: pair.interval && [-pair.interval[1], -pair.interval[0]] };
  }
  return null;
};
const inBrackets = (pair) => (pair.interval ? `[${pair.interval.map(signed).join(', ')}], ` : '');
const inWords = (pair) => `${signed(pair.mean)}, ${inBrackets(pair)}n ${pair.seeds.length}`;
const apart = (pair) => Boolean(pair.interval) && (pair.interval[0] > 0 || pair.interval[1] < 0);

function chosen(node, kind) { return node.closest('figure').querySelector(`select.${kind}`); }

function drawDifferences(node, section) {
  const against = Number(chosen(node, 'reference').value), figure = section.figures[chosen(node, 'figure').value];
  const rows = section.lines.flatMap((line, n) => {
    const pair = n === against || !shown(line.experiment) ? null : pairOf(figure, n, against);
    if (!pair) return [];
    return [{ name: `${line.label}: ${inWords(pair)}`, ...looks.get(line.experiment), values: pair.values, mean: pair.mean, interval: pair.interval,
      tips: pair.values.map((value, k) => `${lineOf(line.label, 44)}\nless ${lineOf(section.lines[against].label, 44)}\n${figure.name}, seed ${pair.seeds[k]}: ${signed(value)}\nmean ${inWords(pair)}${apart(pair) ? '' : '\nnot told apart'}`) }];
  });
  put(node, rows.length ? dotRows(rows, { width: Math.min(860, widthOf(node)), least: 1, zero: true, aria: `differences in ${figure.name}` }) : nothing('Nothing to compare: no other experiment that is shown has this figure for a seed in common.'));
}

function tabulate(node) {
  const figure = node.closest('figure'), section = data.sections[node.dataset.section], against = Number(figure.querySelector('select.reference').value);
  const table = figure.querySelector('table.pairs'), body = document.createElement('tbody');
  table.querySelector('.against').textContent = section.lines[against].label;
  section.lines.forEach((line, n) => {
    const pairs = section.figures.map((f) => (n === against ? null : pairOf(f, n, against)));
    if (!pairs.some(Boolean)) return;
    const row = document.createElement('tr');
    row.dataset.experiment = line.experiment;
    row.hidden = !shown(line.experiment);
    element('td', line.label, row).className = 'name';
    for (const pair of pairs) {
      const cell = element('td', '', row);
      if (!pair) continue;
      element(apart(pair) ? 'b' : 'span', signed(pair.mean), cell);
      element('small', `${inBrackets(pair)}n ${pair.seeds.length}`, cell);
    }
    body.append(row);
  });
  table.tBodies[0].replaceWith(body);
  drawDifferences(figure.querySelector('.differences'), section);
}

for (const select of all('select.reference')) {
  const section = data.sections[select.dataset.section], compared = new Set(section.figures.flatMap((f) => f.pairs.flatMap((p) => [p.one, p.other])));
  section.lines.forEach((line, n) => { if (compared.has(n)) { const option = element('option', line.label, select); option.value = n; option.selected = line.label === section.reference; } });
  select.addEventListener('change', () => tabulate(select));
}
for (const select of all('select.figure')) {
  const section = data.sections[select.dataset.section];
  section.figures.forEach((figure, n) => { if (figure.pairs.length) { const option = element('option', figure.name, select); option.value = n; option.selected = figure.name === section.headline; } });
  select.addEventListener('change', () => drawDifferences(select.closest('figure').querySelector('.differences'), section));
}

function drawCosts(node, section) {
  node.replaceChildren();
  const drawn = [], rows = new Map(section.figures.find((f) => f.name === section.headline).rows.map((row) => [row.line, row]));
  for (const cost of section.costs) {
    const points = cost.points.filter((p) => shown(section.lines[p.line].experiment)).map((p) => {
      const line = section.lines[p.line], row = rows.get(p.line);
      return { name: line.label, ...looks.get(line.experiment), cost: p.cost, mean: row.mean, interval: row.interval, tip: `${lineOf(line.label, 44)}\n${section.headline} ${fixed(row.mean)} %\n${cost.name}: ${p.cost.toLocaleString('en', { maximumSignificantDigits: 4 })}` };
    });
    if (!points.length) continue;
    drawn.push([panel(node, cost.name), (chart) => costChart(points, { width: widthOf(chart), label: cost.name, figure: section.headline })]);
  }
  putAll(drawn);
}

function drawCurves() {
  const node = document.getElementById('curves');
  if (!node) return;
  const drawn = [];
  node.replaceChildren();
  for (const found of data.curves) {
    const lines = found.lines.filter((line) => shown(line.experiment)).map((line) => ({ name: `${lineOf(line.experiment, 44)}, seed ${line.seed}`, colour: looks.get(line.experiment).colour, points: line.points }));
    if (!lines.length) continue;
    drawn.push([panel(node, found.name), (chart) => curveChart(lines, { width: widthOf(chart), label: found.name })]);
  }
  putAll(drawn);
}

// ---- classes: confusion with its clips, and the plane with its legend
const alone = new Map();
function drawDetail(node, detail) {
  const matrix = node.querySelector('.confusion'), picture = confusionChart(detail.confusion, Math.min(640, widthOf(matrix)));
  picture.classList.add('cells');
  picture.addEventListener('click', () => { if (picture.value) list(node, detail, picture.value); });
  put(matrix, picture);
  const plane = node.querySelector('.plane');
  if (!plane) return;
  const width = Math.min(640, widthOf(plane));
  put(plane, planeChart(detail.plane, width, alone.get(detail) ?? null));
}

function list(node, detail, cell) {
  const { classes } = detail.confusion, box = node.querySelector('.clips'), names = box.querySelector('ul'), address = box.querySelector('.viewer');
  box.hidden = false;
  box.querySelector('.which').textContent = `${classes[cell.of]}, taken for ${cell.of === cell.taken ? 'what it is' : classes[cell.taken]}: ${cell.clips} ${cell.clips === 1 ? 'clip' : 'clips'}${cell.names.length && cell.names.length < cell.clips ? `, the first ${cell.names.length}` : ''}`;
  const there = address ? address.value.replace(/\/+$/, '') : '', sound = /^https?:\/\/[\w.:[\]-]+$/.test(there);
  names.replaceChildren();
  for (const name of cell.names) {
    const item = element('li', sound ? '' : name, names);
    if (!sound) continue;
    const link = element('a', name, item);
    link.href = `${there}/?clip=${encodeURIComponent(name)}`;
    link.target = 'amr-viewer';
    link.rel = 'noopener noreferrer';
  }
  if (address) address.onchange = () => list(node, detail, cell);
}

for (const node of all('.detail')) {
  const detail = data.details[node.dataset.detail], { classes, cells } = detail.confusion;
  const wrong = cells.filter(([of, taken]) => of !== taken).sort((a, b) => b[2] - a[2]).slice(0, 10);
  for (const [of, taken, clips, names] of wrong) {
    const item = element('li', '', node.querySelector('.confused')), button = element('button', `${classes[of]} \u2192 ${classes[taken]}, ${clips}`, item);
    button.type = 'button';
    button.addEventListener('click', () => list(node, detail, { of, taken, clips, names }));
  }
  if (!detail.plane) continue;
  detail.plane.classes.forEach((name, n) => {
    const button = element('button', '', node.querySelector('.classes'));
    button.type = 'button';
    button.setAttribute('aria-pressed', 'false');
    button.append(key(look(n).colour, look(n).symbol), name);
    button.addEventListener('click', () => {
      alone.set(detail, alone.get(detail) === n ? null : n);
      for (const [m, other] of [...button.parentNode.children].entries()) other.setAttribute('aria-pressed', String(m === alone.get(detail)));
      drawDetail(node, detail);
    });
  });
}

document.getElementById('filter').hidden = false;
update();
let seen = document.body.clientWidth;
new ResizeObserver(() => { if (document.body.clientWidth !== seen) { seen = document.body.clientWidth; draw(); } }).observe(document.body);
document.body.dataset.ready = '';
