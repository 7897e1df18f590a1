// The distribution of the age and its interval, as SVG.

const WIDTH = 360;
const HEIGHT = 128;
const TOP = 22;
const BASE = HEIGHT - 32;
const SIDE = 20;
const SPACE = 'http://www.w3.org/2000/svg';

function draw(kind, attributes, text = '') {
  const made = document.createElementNS(SPACE, kind);
  for (const [name, value] of Object.entries(attributes)) {
    made.setAttribute(name, value);
  }
  made.textContent = text;
  return made;
}

// The months between which all but `share` of the mass on each side lies.
function reach(probability, share) {
  const total = probability.reduce((sum, value) => sum + value, 0);
  let sum = 0;
  const ends = [];
  probability.forEach((value, month) => {
    sum += value / total;
    if (ends.length === 0 && sum > share) ends.push(month);
    if (ends.length === 1 && sum >= 1 - share) ends.push(month);
  });
  return ends;
}

export function chart(found) {
  const age = found.age_predicted;
  const mass = found.probability;
  if (age === null || (mass === null && found.lo90 === null)) return [];
  const seen = [age, ...(mass ? reach(mass, 0.005) : [])];
  if (found.lo90 !== null) seen.push(found.lo90, found.hi90);
  const low = Math.max(12 * Math.floor((Math.min(...seen) - 6) / 12), 0);
  const high = 12 * Math.ceil((Math.max(...seen) + 6) / 12);
  const x = (month) =>
      SIDE + (WIDTH - 2 * SIDE) * (month - low) / (high - low);
  const what = mass ? 'Distribution of the bone age' : 'Bone age';
  const svg = draw('svg', {
    'viewBox': `0 0 ${WIDTH} ${HEIGHT}`,
    'role': 'img',
    'text-anchor': 'middle',
    'aria-label': `${what}, from ${low} to ${high} months; the estimate is ` +
        `${age.toFixed(1)}.`,
  });
  const step = 12 * Math.max(1, Math.ceil((high - low) / 12 / 6));
  for (let month = low; month <= high; month += step) {
    const at = x(month);
    svg.append(
        draw('line', {class: 'tick', x1: at, x2: at, y1: TOP, y2: BASE + 4}),
        draw('text', {x: at, y: BASE + 16}, month),
        draw('text', {x: at, y: BASE + 28}, `${month / 12} y`));
  }
  svg.append(draw('line', {
    class: 'axis', x1: SIDE / 2, x2: WIDTH - SIDE / 2, y1: BASE, y2: BASE}));
  if (mass) {
    const peak = Math.max(...mass, 1e-12);
    const last = Math.min(high, mass.length - 1);
    const points = [`${x(low)},${BASE}`];
    for (let month = low; month <= last; month += 1) {
      points.push(`${x(month)},${BASE - (BASE - TOP) * mass[month] / peak}`);
    }
    points.push(`${x(last)},${BASE}`);
    svg.append(draw('polygon', {class: 'mass', points: points.join(' ')}));
  }
  if (found.lo90 !== null) {
    svg.append(draw('rect', {
      class: 'bar90', x: x(found.lo90), y: BASE - 5, height: 5,
      width: Math.max(x(found.hi90) - x(found.lo90), 0)}));
  }
  const at = x(age);
  svg.append(
      draw('line', {class: 'mark', x1: at, x2: at, y1: TOP - 6, y2: BASE}),
      draw('text', {class: 'said', x: at, y: 11}, age.toFixed(1)));
  return [svg];
}
