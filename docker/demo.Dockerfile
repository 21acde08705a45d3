# The demo site; see compose.demo.yaml. Build it from the top folder:
#   docker build -f docker/demo.Dockerfile -t channel-layers-demo .

FROM node:24-alpine AS front
WORKDIR /front
COPY demo/front/package.json demo/front/package-lock.json demo/front/.npmrc ./
RUN npm ci --no-audit --no-fund
COPY demo/front ./
RUN npm run build

FROM python:3.12-slim
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /site
COPY constraints.txt ./
COPY requirements requirements/
RUN pip install -c constraints.txt -r requirements/build.txt -r requirements/demo.txt
COPY pyproject.toml README.md LICENSE ./
COPY layers layers/
COPY consumers consumers/
RUN pip install --no-build-isolation -c constraints.txt .
COPY demo demo/
COPY --from=front /front/dist demo/front/dist/
RUN useradd --create-home site && mkdir /data && chown site /data
USER site
ENV DEMO_DATABASE=/data/db.sqlite3
EXPOSE 8000
# Two processes with one SQLite file between them, and the layer.
CMD ["sh", "-c", "python demo/manage.py migrate --no-input --verbosity 0 && exec python demo/serve.py --host 0.0.0.0 --workers 2"]
