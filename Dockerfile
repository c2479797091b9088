FROM python:3.11-slim AS build
COPY requirements.txt ./
COPY requirements requirements
RUN pip install --no-cache-dir --no-deps --require-hashes -r requirements/setup.lock
RUN python -m venv --without-pip /venv \
    && uv pip install --no-cache --compile-bytecode --python /venv/bin/python --no-deps --require-hashes \
        -r requirements/service.lock -r requirements/redis.lock \
    && uv pip install --no-cache --compile-bytecode --python /venv/bin/python --no-deps --torch-backend cpu \
        "$(grep '^torch==' requirements.txt)"

FROM python:3.11-slim AS kernels
RUN apt-get update && apt-get install --yes --no-install-recommends g++
WORKDIR /app
COPY service service
RUN python -m service.engine.kernels

FROM python:3.11-slim
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin chatbot \
    && mkdir /models /data \
    && chown chatbot:0 /models /data \
    && chmod g=u /models /data
COPY --from=build /venv /venv
WORKDIR /app
COPY LICENSE ./
COPY models/__init__.py models/folder.py models/manifest.py models/
COPY models/demo/checkpoint models/demo/checkpoint
COPY export export
COPY service service
COPY --from=kernels /app/service/engine/kernels/build service/engine/kernels/build
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/models/.huggingface \
    CHATBOT_HOST=0.0.0.0 \
    CHATBOT_MODELS_DIR=/models \
    CHATBOT_STORE=/data/conversations.sqlite3
USER 10001
# Exported models, and what must outlive the container. Any user of group 0 may write there, such as OpenShift's.
VOLUME ["/models", "/data"]
EXPOSE 5000
# The first start may have to download and export a model.
HEALTHCHECK --interval=30s --timeout=5s --start-period=15m \
    CMD ["python", "-m", "service.healthcheck"]
ENTRYPOINT ["python", "-m", "service"]
