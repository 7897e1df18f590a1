// Phantoms at the estimate, at the ends of its interval and at any other age.

import {SEXES, years} from './words.js';

const OLDEST = Number(document.body.dataset.oldest);
const NEAR = Number(document.body.dataset.near);
const SPACE = 'http://www.w3.org/2000/svg';
const PAUSE = 150;  // ms that the slider rests before a hand is drawn

const place = (sex, age) => `atlas/${sex}/${age}`;
const whole = (age) => Math.min(Math.max(Math.round(age), 1), OLDEST);

export function atlas(film, found) {
  const root = film.querySelector('.atlas');
  if (!film.hands) film.hands = hands(root);
  film.hands(found);
}

function hands(root) {
  const part = (name) => root.querySelector(name);
  const [slider, sex] = [part('.slide input'), part('.of-sex select')];
  let found = null, timer = 0, asked = 0;

  const ages = () => {
    const one = {M: found.age_if_male, F: found.age_if_female}[sex.value];
    const rows = [['Estimate', one ?? found.age_predicted]];
    if (found.lo90 !== null) {
      rows.unshift(['Lower end', found.lo90]);
      rows.push(['Upper end', found.hi90]);
    }
    return rows.map(([name, age]) => [name, whole(age)]);
  };

  const compare = () => {
    part('.compare').replaceChildren(...ages().map(([name, age]) => {
      const button = document.createElement('button');
      const image = document.createElement('img');
      const text = document.createElement('span');
      button.type = 'button';
      button.dataset.age = age;
      image.src = `${place(sex.value, age)}/hand.png`;
      image.alt = '';
      text.textContent = `${name}\n${years(age)}`;
      button.append(image, text);
      button.addEventListener('click', () => {
        slider.value = age;
        turn();
      });
      return button;
    }));
  };

  const turn = async () => {
    clearTimeout(timer);
    name();
    const [of, age] = [sex.value, Number(slider.value)];
    asked += 1;
    const ticket = asked;
    let changes;
    try {
      const answer = await fetch(place(of, age));
      if (!answer.ok) throw new Error(answer.status);
      changes = await answer.json();
    } catch {
      if (ticket === asked) timer = setTimeout(turn, 1000);
      return;
    }
    if (ticket !== asked) return;  // the slider has moved on
    const image = part('.ring img');
    image.src = `${place(of, age)}/hand.png`;
    image.alt = `Phantom: hand of a ${SEXES[of]} at ${years(age)}`;
    part('.ring svg').replaceChildren(...rings(changes));
    part('.changes').replaceChildren(...words(changes, age));
  };

  // What is known before the hand is drawn.
  const name = () => {
    const age = Number(slider.value);
    part('.slide output').textContent = years(age);
    slider.setAttribute('aria-valuetext', years(age));
    for (const one of part('.compare').children) {
      one.setAttribute('aria-pressed', Number(one.dataset.age) === age);
    }
  };

  slider.addEventListener('input', () => {
    name();
    clearTimeout(timer);
    timer = setTimeout(turn, PAUSE);
  });
  sex.addEventListener('change', () => start());

  const start = () => {
    compare();
    slider.value = ages().find(([name]) => name === 'Estimate')[1];
    turn();
  };

  return (answer) => {
    found = answer;
    if (found.sex in SEXES) sex.value = found.sex;
    start();
  };
}

function rings(changes) {
  return changes.map(({x, y}) => {
    const ring = document.createElementNS(SPACE, 'ellipse');
    const size = {cx: x, cy: y, rx: 0.036, ry: 0.026};
    for (const [key, value] of Object.entries(size)) {
      ring.setAttribute(key, value);
    }
    return ring;
  });
}

function words(changes, age) {
  const title = document.createElement('h4');
  title.textContent =
      `Changes from ${years(Math.max(age - NEAR, 0))} to ${years(age + NEAR)}`;
  if (!changes.length) {
    const none = document.createElement('p');
    none.textContent = 'No centre reaches a new stage here.';
    return [title, none];
  }
  const list = document.createElement('ul');
  for (const what of new Set(changes.map((one) => one.what))) {
    const item = document.createElement('li');
    const head = document.createElement('strong');
    const same = changes.filter((one) => one.what === what);
    head.textContent = what[0].toUpperCase() + what.slice(1);
    const each = same.map((one) => `${one.centre} (${years(one.month)})`);
    item.append(head, `: ${each.join(', ')}`);
    list.append(item);
  }
  return [title, list];
}
