// The report's pictures. Colours are variables of the page's style, so that they follow light, dark and paper.
const COLOURS = 10, SYMBOLS = ['circle', 'square', 'triangle', 'diamond', 'star', 'cross', 'wye'];
const KEYS = { circle: 'M0-5a5 5 0 1 0 .01 0Z', square: 'M-4.5-4.5h9v9h-9Z', triangle: 'M0-5.5 5 4.5h-10Z', diamond: 'M0-6 4.5 0 0 6-4.5 0Z', star: 'M0-6 1.6-1.9 6-1.9 2.4.8 3.8 5 0 2.4-3.8 5-2.4.8-6-1.9-1.6-1.9Z', cross: 'M-1.8-5h3.6v3.2H5v3.6H1.8V5h-3.6V1.8H-5v-3.6h3.2Z', wye: 'M-1.6 5V1L-5-1.2-3.4-4 0-1.8 3.4-4 5-1.2 1.6 1v4Z' };
const look = (n) => ({ colour: `var(--c${n % COLOURS})`, symbol: SYMBOLS[Math.floor(n / COLOURS) % SYMBOLS.length] });
const GREY = 'var(--base)', SOFT = 'var(--soft)', INK = 'var(--ink)';
const fixed = (v, digits = 1) => v.toFixed(digits);
const signed = (v) => (v < 0 ? '' : '+') + fixed(v);
const between = (pair, of = fixed) => `${of(pair[0])} to ${of(pair[1])}`;
const cut = (text, width) => (text.length * 6.2 > width ? text.slice(0, Math.max(6, Math.floor(width / 6.2) - 1)) + '\u2026' : text);
const lineOf = (text, width) => text.replace(new RegExp(`(.{1,${width}})(\\s+|$)`, 'g'), '$1\n').trim();

// the symbol of an experiment or a class, for legends
function key(colour, symbol) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  svg.setAttribute('class', 'key');
  svg.setAttribute('viewBox', '-6 -6 12 12');
  svg.setAttribute('aria-hidden', 'true');
  path.setAttribute('d', KEYS[symbol]);
  path.setAttribute('fill', colour);
  svg.append(path);
  return svg;
}

// Where an axis runs: the values with room on both sides. Intervals widen it to three times the values' own span at most,
// so that a few seeds, whose intervals are wide, do not flatten what the dots show.
function extent(values, intervals, least) {
  const low = Math.min(...values), high = Math.max(...values), room = Math.max(high - low, least);
  const ends = intervals.flat();
  const from = Math.min(low, Math.max(Math.min(low, ...ends), low - room)), to = Math.max(high, Math.min(Math.max(high, ...ends), high + room));
  const spare = Math.max((to - from) * 0.06, least / 4);
  return [from - spare, to + spare];
}

const inside = (pair, [from, to]) => [Math.max(from, Math.min(pair[0], to)), Math.min(to, Math.max(pair[1], from))];

// Rows of dots, each with its name above it: `rows` [{name, colour, symbol, values, tips, mean, interval, dashed, published}]
function dotRows(rows, { width, least, zero, aria }) {
  const values = rows.flatMap((r) => [...r.values, ...(r.published == null ? [] : [r.published])]).concat(zero ? [0] : []);
  const domain = extent(values, rows.filter((r) => r.interval).map((r) => r.interval), least);
  const dots = rows.flatMap((r, row) => r.values.map((value, n) => ({ row, value, tip: r.tips[n], ...r })));
  const bars = rows.flatMap((r, row) => (r.interval ? [{ row, colour: r.colour, dashed: r.dashed, ends: inside(r.interval, domain) }] : []));
  const ticks = Math.max(3, Math.min(8, Math.floor(width / 80)));
  const bar = (some, more) => Plot.ruleY(some, { y: 'row', x1: (d) => d.ends[0], x2: (d) => d.ends[1], stroke: 'colour', ...more });
  return Plot.plot({
    width, height: rows.length * 40 + 26, marginLeft: 4, marginRight: 6, marginTop: 4, marginBottom: 22, ariaLabel: aria,
    x: { domain, label: null, ticks, inset: 8 },
    y: { type: 'band', domain: rows.map((_, n) => n), axis: null, padding: 0 },
    color: { type: 'identity' }, symbol: { type: 'identity' },
    marks: [
      Plot.gridX({ stroke: INK, strokeOpacity: 0.12, ticks }),
      zero ? Plot.ruleX([0], { stroke: INK, strokeOpacity: 0.7 }) : null,
      Plot.text(rows, { y: (_, n) => n, frameAnchor: 'left', dx: 4, dy: -10, text: (r) => cut(r.name, width - 20), fill: INK, textAnchor: 'start' }),
      bar(bars.filter((b) => !b.dashed), { strokeWidth: 5, strokeOpacity: 0.3, dy: 7 }),
      bar(bars.filter((b) => b.dashed), { strokeWidth: 1.6, strokeDasharray: '3 3', strokeOpacity: 0.9, dy: 7 }),
      Plot.dot(rows.flatMap((r, row) => (r.published == null ? [] : [{ row, ...r }])), { x: 'published', y: 'row', symbol: 'diamond', r: 5, stroke: INK, dy: 7 }),
      Plot.dot(dots, { x: 'value', y: 'row', fill: 'colour', symbol: 'symbol', r: 3.6, fillOpacity: 0.85, stroke: 'var(--back)', strokeWidth: 0.7, dy: 7 }),
      Plot.tickX(rows.flatMap((r, row) => (r.values.length > 1 ? [{ row, ...r }] : [])), { x: 'mean', y: 'row', stroke: 'colour', strokeWidth: 3, insetTop: 13, insetBottom: 13, dy: 7 }),
      Plot.tip(dots, Plot.pointer({ x: 'value', y: 'row', dy: 7, title: 'tip', fontSize: 12, fill: 'var(--back)', stroke: SOFT, maxRadius: 60 })),
    ],
  });
}

// Points by cost: `points` [{name, colour, symbol, cost, mean, interval, tip}]
function costChart(points, { width, label, figure }) {
  const domain = extent(points.map((p) => p.mean), points.filter((p) => p.interval).map((p) => p.interval), 2);
  // names stand at least a line apart
  const height = 300, line = ((domain[1] - domain[0]) * 14) / (height - 62), named = [...points].sort((a, b) => b.mean - a.mean);
  named.forEach((p, n) => { p.at = n ? Math.min(p.mean, named[n - 1].at - line) : p.mean; });
  const costs = points.map((p) => p.cost), few = points.length <= 6;
  const ends = [Math.min(...costs) / 1.4, Math.max(...costs) * 1.4], middle = Math.sqrt(ends[0] * ends[1]);
  const bars = points.filter((p) => p.interval).map((p) => ({ ...p, ends: inside(p.interval, domain) }));
  return Plot.plot({
    width, height, marginLeft: 44, marginBottom: 38, marginTop: 24, ariaLabel: `${figure} by ${label}`,
    x: { type: 'log', domain: ends, label, ticks: Math.max(2, Math.floor(width / 90)), tickFormat: (v) => v.toLocaleString('en', { maximumSignificantDigits: 3 }) },
    y: { domain, label: `${figure}, %`, ticks: 6, grid: true },
    color: { type: 'identity' }, symbol: { type: 'identity' },
    marks: [
      Plot.ruleX(bars, { x: 'cost', y1: (d) => d.ends[0], y2: (d) => d.ends[1], stroke: 'colour', strokeWidth: 2, strokeOpacity: 0.45 }),
      Plot.dot(points, { x: 'cost', y: 'mean', fill: 'colour', symbol: 'symbol', r: 5, stroke: 'var(--back)' }),
      ...(few ? [false, true].map((left) => Plot.text(points.filter((p) => (p.cost > middle) === left), { x: 'cost', y: 'at', text: (p) => cut(p.name, width / 2.4), dx: left ? -9 : 9, textAnchor: left ? 'end' : 'start', fill: INK, stroke: 'var(--back)', strokeWidth: 3 })) : []),
      Plot.tip(points, Plot.pointer({ x: 'cost', y: 'mean', title: 'tip', fontSize: 12, fill: 'var(--back)', stroke: SOFT })),
    ],
  });
}

// Lines by epoch: `lines` [{name, colour, points}]
function curveChart(lines, { width, label }) {
  const points = lines.flatMap((l, run) => l.points.map(([epoch, value]) => ({ run, epoch, value, colour: l.colour, tip: `${l.name}\nepoch ${epoch}: ${value.toPrecision(4)}` })));
  return Plot.plot({
    width, height: 300, marginLeft: 44, marginBottom: 34, marginTop: 24, ariaLabel: label,
    x: { label: 'epoch', ticks: Math.max(3, Math.floor(width / 90)), tickFormat: (v) => (Number.isInteger(v) ? `${v}` : '') }, y: { label, grid: true, nice: true }, color: { type: 'identity' },
    marks: [
      Plot.line(points, { x: 'epoch', y: 'value', z: 'run', stroke: 'colour', strokeWidth: 1.4 }),
      Plot.dot(points.length > 200 ? [] : points, { x: 'epoch', y: 'value', fill: 'colour', r: 1.8 }),
      Plot.tip(points, Plot.pointer({ x: 'epoch', y: 'value', title: 'tip', fontSize: 12, fill: 'var(--back)', stroke: SOFT })),
    ],
  });
}

// A matrix of what was taken for what; its `value` is the cell under the pointer
function confusionChart({ classes, cells }, width) {
  const totals = classes.map(() => 0);
  for (const [of, , clips] of cells) totals[of] += clips;
  const named = classes.length <= 20, margin = named ? Math.min(width * 0.34, 14 + 6.2 * Math.max(...classes.map((c) => c.length))) : 34;
  const side = width - margin - 6, every = Math.ceil(classes.length / 12), numbers = classes.map((_, n) => n);
  const data = cells.map(([of, taken, clips, names]) => ({ of, taken, clips, names, share: clips / totals[of], tip: `${classes[of]}\n${of === taken ? 'taken for what it is' : 'taken for ' + classes[taken]}\n${clips} of ${totals[of]} clips, ${Math.round((100 * clips) / totals[of])} %` }));
  const ticks = named ? numbers : numbers.filter((n) => n % every === 0), format = (n) => (named ? cut(classes[n], margin - 8) : `${n + 1}`);
  return Plot.plot({
    width, height: side + margin + 6, marginLeft: margin, marginRight: 6, marginTop: 6, marginBottom: margin, ariaLabel: 'confusion', className: 'plot-d6a7b5',
    x: { type: 'band', domain: numbers, label: null, padding: 0, ticks, tickFormat: format, tickRotate: named ? -90 : 0, tickSize: 2 },
    y: { type: 'band', domain: numbers, label: null, padding: 0, ticks, tickFormat: format, tickSize: 2 },
    marks: [
      Plot.frame({ stroke: 'var(--line)', fill: 'var(--tint)' }),
      Plot.cell(data, { x: 'taken', y: 'of', fill: 'var(--heat)', fillOpacity: (d) => 0.1 + 0.9 * d.share, ariaLabel: (d) => d.tip }),
      classes.length <= 12 ? Plot.text(data, { x: 'taken', y: 'of', text: 'clips', fill: (d) => (d.share > 0.55 ? 'var(--back)' : INK) }) : null,
      Plot.cell(data, Plot.pointer({ x: 'taken', y: 'of', stroke: INK, strokeWidth: 1.5 })),
      Plot.tip(data, Plot.pointer({ x: 'taken', y: 'of', title: 'tip', fontSize: 12, fill: 'var(--back)', stroke: SOFT })),
    ],
    color: { type: 'identity' }, opacity: { type: 'identity' },
  });
}

// Clips in the plane; `alone` the class that stands out, or null
function planeChart({ classes, points }, width, alone) {
  const data = points.map(([x, y, label, clip]) => ({ x, y, ...look(label), faint: alone !== null && label !== alone, tip: `${classes[label]}\n${clip}` }));
  return Plot.plot({
    width, height: Math.min(width, 460), margin: 8, ariaLabel: 'features in the plane', x: { axis: null, inset: 8 }, y: { axis: null, inset: 8 }, color: { type: 'identity' }, symbol: { type: 'identity' }, opacity: { type: 'identity' },
    marks: [
      Plot.frame({ stroke: 'var(--line)' }),
      Plot.dot(data, { x: 'x', y: 'y', fill: 'colour', symbol: 'symbol', r: 3.4, fillOpacity: (d) => (d.faint ? 0.08 : 0.9) }),
      Plot.tip(data.filter((d) => !d.faint), Plot.pointer({ x: 'x', y: 'y', title: 'tip', fontSize: 12, fill: 'var(--back)', stroke: SOFT })),
    ],
  });
}
