// The form, the list of films and the way to the server.

import {fill} from './answer.js';

const TRIES = 20;  // of a film that others are waiting before
const AT_ONCE = 2;  // one is read while the other is sent

const form = document.getElementById('send');
const choose = document.getElementById('choose');
const drop = document.getElementById('drop');
const list = document.getElementById('films');
const said = document.getElementById('say');
const most = Number(document.body.dataset.megabytes);
const waiting = [];
let running = 0;

function say(text, wrong = false) {
  said.textContent = text;
  said.classList.toggle('wrong', wrong);
}

function chosenSex() {
  return new FormData(form).get('sex');
}

function take(files) {
  const sex = chosenSex();
  const fieldset = form.querySelector('fieldset');
  fieldset.classList.toggle('missing', !sex);
  if (!files.length) return;
  if (!sex) {
    say('Choose the sex of the child first: it is never guessed.', true);
    fieldset.querySelector('input').focus();
    return;
  }
  for (const file of [...files].reverse()) add(file, sex);
  const count = files.length === 1 ? '1 film' : `${files.length} films`;
  say(`${count} added.`);
}

function add(file, sex) {
  const made = document.getElementById('film').content.cloneNode(true);
  const film = made.querySelector('article');
  film.querySelector('h2').textContent = file.name;
  const again = film.querySelector('.again select');
  again.value = sex;
  film.numbers = [...form.querySelectorAll('.number input')].map(
      ({name, value}) => [name, value]);
  again.addEventListener('change', () => enter(film, file));
  film.querySelector('.remove').addEventListener('click', () => {
    film.remove();
    list.focus();
  });
  film.querySelector('.print').addEventListener('click', () => print(film));
  list.prepend(film);
  enter(film, file);
}

function print(film) {
  film.classList.add('printed');
  document.body.classList.add('one');
  window.print();
  film.classList.remove('printed');
  document.body.classList.remove('one');
}

function show(film, state, text) {
  film.className = `panel film ${state}`;
  film.querySelector('.state').textContent = text;
}

function enter(film, file) {
  show(film, 'waiting', 'Waiting ...');
  film.querySelector('.answer').hidden = true;
  const ticket = {film, file};
  film.ticket = ticket;  // of several, the last counts
  waiting.push(ticket);
  next();
}

async function next() {
  if (running >= AT_ONCE || !waiting.length) return;
  running += 1;
  const ticket = waiting.shift();
  try {
    if (isWanted(ticket)) await send(ticket);
  } finally {
    running -= 1;
    next();
  }
}

function isWanted(ticket) {
  return ticket.film.isConnected && ticket.film.ticket === ticket;
}

async function send(ticket) {
  const {film, file} = ticket;
  if (file.size > most * 1e6) {
    show(film, 'failed', `The file has more than ${most} megabytes.`);
    return;
  }
  const sex = film.querySelector('.again select').value;
  const body = new FormData();
  body.append('sex', sex);
  body.append('pictures', 'true');
  for (const [name, value] of film.numbers) body.append(name, value);
  body.append('file', file);
  show(film, 'reading', 'Reading ...');
  for (let tries = 1; isWanted(ticket); tries += 1) {
    let answer, content;
    try {
      answer = await fetch('predict', {method: 'POST', body});
      content = await answer.json();
    } catch {
      show(film, 'failed', 'The server does not answer. Is it still running?');
      return;
    }
    if (!isWanted(ticket)) return;
    if (answer.ok) {
      const [found] = content;
      show(film, found.status, '');
      fill(film, found);
      say(`${file.name}: ${film.querySelector('.age strong').textContent}`);
      return;
    }
    if (answer.status !== 429 || tries === TRIES) {
      show(film, 'failed', content.detail);
      return;
    }
    const seconds = Number(answer.headers.get('Retry-After')) || 1;
    show(film, 'waiting', `Others are waiting: again in ${seconds} s.`);
    await new Promise((done) => setTimeout(done, seconds * 1000));
  }
}

choose.addEventListener('change', () => {
  take(choose.files);
  choose.value = '';
});
form.addEventListener('submit', (event) => event.preventDefault());
form.addEventListener('change', (event) => {
  if (event.target.name !== 'sex') return;
  form.querySelector('fieldset').classList.remove('missing');
  say('');
});
for (const kind of ['dragenter', 'dragover']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.add('over');
  });
}
for (const kind of ['dragleave', 'drop']) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.remove('over');
  });
}
document.addEventListener('drop', (event) => take(event.dataTransfer.files));
