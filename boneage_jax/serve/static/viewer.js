// A film under its layers: zoom, move, window.

const MOST = 8;  // times as large
const SPACE = 'http://www.w3.org/2000/svg';
let filters = 0;

export function view(film, found) {
  const part = (name) => film.querySelector(name);
  const {film: grey, heat, marks} = found.pictures;
  part('.grey').src = grey;
  part('.grey').alt = `The film ${found.file}`;
  for (const [name, picture] of [['heat', heat], ['marks', marks]]) {
    const image = part(`.layers .${name}`);
    image.hidden = !picture;
    if (picture) image.src = picture;
    part(`.for-${name}`).hidden = !picture;
  }
  if (!film.moves) {
    film.moves = moves(part('.stage'), part('.layers'));
    film.moves.buttons(part('.in'), part('.out'), part('.fit'));
    layers(film);
    windows(film);
  }
  film.moves.fit();
}

function layers(film) {
  const part = (name) => film.querySelector(name);
  const show = () => {
    part('.layers .heat').style.visibility =
        part('.show-heat').checked ? 'visible' : 'hidden';
    part('.layers .heat').style.opacity = part('.strength').value / 100;
    part('.layers .marks').style.visibility =
        part('.show-marks').checked ? 'visible' : 'hidden';
  };
  for (const name of ['.show-heat', '.strength', '.show-marks']) {
    part(name).addEventListener('input', show);
  }
  show();
}

// Greys from `low` to `high` become black to white, as on a film viewer.
function windows(film) {
  const part = (name) => film.querySelector(name);
  filters += 1;
  const svg = document.createElementNS(SPACE, 'svg');
  const filter = document.createElementNS(SPACE, 'filter');
  const transfer = document.createElementNS(SPACE, 'feComponentTransfer');
  const channels = ['R', 'G', 'B'].map((letter) => {
    const one = document.createElementNS(SPACE, `feFunc${letter}`);
    one.setAttribute('type', 'linear');
    return one;
  });
  svg.setAttribute('width', 0);
  svg.setAttribute('height', 0);
  svg.setAttribute('aria-hidden', 'true');
  svg.style.position = 'absolute';
  filter.id = `window${filters}`;
  filter.setAttribute('color-interpolation-filters', 'sRGB');
  transfer.append(...channels);
  filter.append(transfer);
  svg.append(filter);
  part('.viewer').append(svg);
  const [level, width] = [part('.level'), part('.width')];
  const show = () => {
    const centre = 1 - level.value / 100;
    const wide = 2 * (1 - width.value / 100);
    for (const one of channels) {
      one.setAttribute('slope', 1 / wide);
      one.setAttribute('intercept', 0.5 - centre / wide);
    }
    const plain = level.value === '50' && width.value === '50';
    part('.grey').style.filter = plain ? '' : `url(#${filter.id})`;
  };
  level.addEventListener('input', show);
  width.addEventListener('input', show);
  part('.reset').addEventListener('click', () => {
    level.value = 50;
    width.value = 50;
    show();
  });
}

function moves(stage, inner) {
  let scale = 1, x = 0, y = 0, from = null;
  stage.setAttribute(
      'aria-label', 'Film: plus and minus zoom, arrows move, 0 fits');
  const show = () => {
    const roomX = stage.clientWidth * (scale - 1) / 2;
    const roomY = stage.clientHeight * (scale - 1) / 2;
    x = Math.min(Math.max(x, -roomX), roomX);
    y = Math.min(Math.max(y, -roomY), roomY);
    inner.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    stage.classList.toggle('zoomed', scale > 1);
  };
  const zoom = (factor, atX = 0, atY = 0) => {
    const next = Math.min(Math.max(scale * factor, 1), MOST);
    x = atX - (atX - x) * next / scale;
    y = atY - (atY - y) * next / scale;
    scale = next;
    show();
  };
  const move = (right, down) => {
    x += right;
    y += down;
    show();
  };
  const fit = () => {
    scale = 1;
    show();
  };
  const keys = {
    '+': () => zoom(1.25), '=': () => zoom(1.25), '-': () => zoom(0.8),
    '0': fit,
    'ArrowLeft': () => move(40, 0), 'ArrowRight': () => move(-40, 0),
    'ArrowUp': () => move(0, 40), 'ArrowDown': () => move(0, -40),
  };
  stage.addEventListener('keydown', (event) => {
    if (!(event.key in keys) || event.ctrlKey || event.metaKey) return;
    if (event.key.startsWith('Arrow') && scale === 1) return;
    event.preventDefault();
    keys[event.key]();
  });
  stage.addEventListener('wheel', (event) => {
    if (!event.ctrlKey && scale === 1) return;  // the page scrolls
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15,
        event.clientX - box.left - box.width / 2,
        event.clientY - box.top - box.height / 2);
  }, {passive: false});
  stage.addEventListener('dblclick', () => scale > 1 ? fit() : zoom(2.5));
  stage.addEventListener('pointerdown', (event) => {
    if (scale === 1) return;
    from = [event.clientX - x, event.clientY - y];
    stage.setPointerCapture(event.pointerId);
    stage.classList.add('dragged');
  });
  stage.addEventListener('pointermove', (event) => {
    if (!from) return;
    [x, y] = [event.clientX - from[0], event.clientY - from[1]];
    show();
  });
  for (const kind of ['pointerup', 'pointercancel']) {
    stage.addEventListener(kind, () => {
      from = null;
      stage.classList.remove('dragged');
    });
  }
  const buttons = (larger, smaller, all) => {
    larger.addEventListener('click', () => zoom(1.5));
    smaller.addEventListener('click', () => zoom(1 / 1.5));
    all.addEventListener('click', fit);
  };
  return {fit, buttons};
}
