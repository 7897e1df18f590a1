// What is said of a film.

import {atlas} from './atlas.js';
import {chart} from './chart.js';
import {view} from './viewer.js';
import {months, years} from './words.js';

const STATUS = {
  ok: document.body.dataset.checked === 'yes' ?
      'No check failed' : 'No check failed; most are not fitted',
  check: 'Look at the film',
  refused: 'Refused',
};

export function fill(film, found) {
  const part = (name) => film.querySelector(name);
  const known = found.age_predicted !== null;
  part('.answer').hidden = false;
  part('.status').textContent = STATUS[found.status];
  part('.age strong').textContent =
      known ? years(found.age_predicted) : 'No age';
  part('.age span').textContent =
      known ? months(found.age_predicted) : '';
  part('.interval').textContent = interval(found);
  part('.ages').replaceChildren(...ages(found));
  part('.messages').replaceChildren(...found.messages.map((text) => {
    const item = document.createElement('li');
    item.textContent = text[0].toUpperCase() + text.slice(1);
    return item;
  }));
  part('.chart').replaceChildren(...chart(found));
  part('.rests').textContent =
      `${found.method}, boneage_jax ${found.version}, trained on ` +
      `${found.trained_on}.` + (found.site ? ` For ${found.site}.` : '');
  view(film, found);
  part('.atlas').hidden = !known;
  if (known) atlas(film, found);
}

function interval(found) {
  if (found.lo90 === null) return '';
  return `90 % interval: ${found.lo90.toFixed(1)} to ` +
      `${months(found.hi90)} (${years(found.lo90)} to ${years(found.hi90)})`;
}

function ages(found) {
  if (found.age_if_male === null) return [];
  const pairs = [
    ['If a boy', found.age_if_male],
    ['If a girl', found.age_if_female],
  ];
  const cells = pairs.flatMap(([name, age]) => {
    const term = document.createElement('dt');
    const value = document.createElement('dd');
    term.textContent = name;
    value.textContent = `${years(age)} (${months(age)})`;
    return [term, value];
  });
  const term = document.createElement('dt');
  const value = document.createElement('dd');
  term.textContent = 'Sex unknown';
  value.textContent = found.male_share_from === 'p_male' ?
      'the age above weighs both by the probability of a boy that the net ' +
          `tells, ${(100 * found.male_share).toFixed(0)} %` :
      'the age above is one half of each';
  return [...cells, term, value];
}
