# Build:  docker build -t boneage_jax .
# Train:  docker run -v "$PWD/runs:/home/boneage/runs" --no-healthcheck \
#           boneage_jax boneage_jax.main --config=configs/cascade.py:phantom
# See docs/how-to/container.md for films, the web server and other devices.
FROM python:3.11-slim AS build
WORKDIR /source
COPY . .
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.11-slim
# What else is installed, such as [tpu,gs].
ARG EXTRAS='[web,dicom]'
COPY --from=build /wheels /wheels
RUN pip install --no-cache-dir "$(echo /wheels/*.whl)${EXTRAS}"
RUN useradd --create-home --uid 1000 boneage \
  && install -d -o boneage /home/boneage/runs
USER 1000
WORKDIR /home/boneage
EXPOSE 8000
# Of the web server; nothing else answers on this port.
HEALTHCHECK --interval=30s --timeout=5s --start-period=90s \
  CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://localhost:8000/health', timeout=4)"]
ENTRYPOINT ["python", "-m"]
CMD ["boneage_jax.main", "--help"]
