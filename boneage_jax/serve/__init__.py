"""A web page and REST: films in, ages out, by the nets of one run.

`__main__` is the command, `app` the routes. `guard` sees every request first;
`form` reads bodies within limits; `reader` decodes films in other processes and
runs the nets in one thread; `answers` turns predictions into JSON.
"""
