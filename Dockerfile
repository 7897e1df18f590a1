# Build:  docker build -t boneage_jax .
# Run:    docker run -v "$PWD/runs:/app/runs" boneage_jax \
#           --config=configs/cascade.py:phantom
# For NVIDIA GPUs: docker build --build-arg EXTRAS='[cuda]' -t boneage_jax .
FROM python:3.11-slim
ARG EXTRAS=''
WORKDIR /app
COPY . .
RUN pip install --no-cache-dir -e ".${EXTRAS}"
ENTRYPOINT ["python", "-m", "boneage_jax.main"]
