"""Servers: a web page and REST, and in `dicom` a DICOM node.

`__main__` is the command of the page, `app` its routes. `guard` sees every
request first; `form` reads bodies within limits; `reader` decodes films in
other processes and runs the nets in one thread; `answers` turns predictions
into JSON.
"""
