"""A Google Cloud Storage of one bucket, as much of it as gcsfs and Orbax use.

Objects have generations, and what is asked for on condition of one is refused
or left out like there: Orbax relies on it.
"""

import contextlib
from http import server
import itertools
import json
import re
import threading
from urllib import parse


class Handler(server.BaseHTTPRequestHandler):
  """Serves `objects`, name -> (generation, bytes)."""

  protocol_version = 'HTTP/1.1'
  wbufsize = -1  # head and body in one packet, or the second waits for 40 ms

  def log_message(self, *args):
    pass

  def answer(self, status, body=b'', **headers):
    self.send_response(status)
    for name, value in headers.items():
      self.send_header(name, str(value))
    self.send_header('Content-Length', str(len(body)))
    self.end_headers()
    self.wfile.write(body)

  def json(self, value):
    body = json.dumps(value).encode()
    self.answer(200, body, **{'Content-Type': 'application/json'})

  def asked(self):
    """Name of the object, '' without one, and the query."""
    url = parse.urlparse(self.path)
    name = re.search('/o/(.+)', url.path)
    return parse.unquote(name[1]) if name else '', dict(
      parse.parse_qsl(url.query)
    )

  def refused(self, name, query):
    """Answer where the generation is not as asked for."""
    current = self.server.objects.get(name, (0, b''))[0]
    if int(query.get('ifGenerationMatch', current)) != current:
      self.answer(412)
      return True
    if query.get('ifGenerationNotMatch') == str(current):
      self.answer(304)
      return True
    return False

  def describe(self, name):
    generation, data = self.server.objects[name]
    return {
      'kind': 'storage#object',
      'name': name,
      'bucket': 'bone',
      'size': str(len(data)),
      'generation': str(generation),
      'etag': str(generation),
      'updated': '2020-01-01T00:00:00Z',
      'timeCreated': '2020-01-01T00:00:00Z',
    }

  def do_GET(self):
    name, query = self.asked()
    objects = self.server.objects
    if not name and '/o' in self.path:
      prefix, delimiter = query.get('prefix', ''), query.get('delimiter')
      found, folders = [], set()
      for each in sorted(objects):
        rest = each.removeprefix(prefix)
        if not each.startswith(prefix):
          continue
        if delimiter and delimiter in rest:
          folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
        else:
          found.append(self.describe(each))
      self.json({'items': found, 'prefixes': sorted(folders)})
    elif not name:
      self.json({'kind': 'storage#bucket', 'name': 'bone'})
    elif name not in objects:
      self.answer(404)
    elif query.get('alt') != 'media':
      self.json(self.describe(name))
    elif not self.refused(name, query):
      generation, data = objects[name]
      headers = {'x-goog-generation': generation}
      part = re.match(r'bytes=(\d+)-(\d*)', self.headers.get('Range', ''))
      if part:
        first, last = int(part[1]), int(part[2] or len(data) - 1)
        headers['Content-Range'] = f'bytes {first}-{last}/{len(data)}'
        data = data[first : last + 1]
      self.answer(206 if part else 200, data, **headers)

  def do_POST(self):
    name, query = self.asked()
    data = self.rfile.read(int(self.headers['Content-Length']))
    if self.path.startswith('/batch/'):
      self.remove_all(re.findall(rb'DELETE \S+/o/(\S+)', data))
      return
    if self.path.startswith('/parts/'):
      self.receive(name, data)
      return
    if query['uploadType'] == 'resumable':
      name = query.get('name') or json.loads(data)['name']
      place = f'{self.server.url}/parts/o/{parse.quote(name, safe="")}'
      self.answer(200, Location=place)
      return
    name = query.get('name')
    if not name:  # two parts, each a head, an empty line and its content
      line = self.headers['Content-Type'].partition('boundary=')[2].strip('"')
      _, first, second, _ = data.split(f'--{line}'.encode())
      first, data = (
        re.split(rb'\r?\n\r?\n', part, maxsplit=1)[1]
        for part in (first, second)
      )
      name, data = json.loads(first)['name'], data.removesuffix(b'\n')
    with self.server.lock:
      if not self.refused(name, query):
        self.server.objects[name] = (next(self.server.generations), data)
        self.json(self.describe(name))

  def receive(self, name, data):
    """Take a part of an upload in parts; the last one says the size."""
    parts = self.server.parts.setdefault(name, bytearray())
    parts += data
    if self.headers['Content-Range'].endswith('/*'):
      self.answer(308, Range=f'bytes=0-{len(parts) - 1}')
      return
    data = bytes(self.server.parts.pop(name))
    self.server.objects[name] = (next(self.server.generations), data)
    self.json(self.describe(name))

  def remove_all(self, names):
    body = '--part'
    for name in names:
      gone = self.server.objects.pop(parse.unquote(name.decode()), None)
      body += f'\r\n\r\nHTTP/1.1 {204 if gone else 404}\r\n\r\n--part'
    kind = 'multipart/mixed; boundary=part'
    self.answer(200, f'{body}--'.encode(), **{'Content-Type': kind})

  def do_DELETE(self):
    name, query = self.asked()
    with self.server.lock:
      if not self.refused(name, query):
        gone = self.server.objects.pop(name, None)
        self.answer(204 if gone else 404)


class Server(server.ThreadingHTTPServer):
  def handle_error(self, request, address):
    """A client that hung up."""


@contextlib.contextmanager
def serving():
  """Serve the bucket gs://bone; gives the address."""
  with Server(('localhost', 0), Handler) as run:
    run.objects, run.parts, run.lock = {}, {}, threading.RLock()
    run.url = f'http://localhost:{run.server_port}'
    run.generations = itertools.count(1)
    thread = threading.Thread(target=run.serve_forever)
    thread.start()
    try:
      yield run.url
    finally:
      run.shutdown()
      thread.join()
