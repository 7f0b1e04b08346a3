# docker build --tag cl .                          with CUDA and DALI; --build-arg CPU=1 without
# docker run --gpus all --shm-size 8g --volume "$PWD/runs:/cl/trained_models" cl \
#     main_contrastive.py digits resnet6_w16 --epochs 20
FROM python:3.11-slim-bookworm
ARG CPU=
WORKDIR /cl
COPY requirements.txt requirements-cpu.txt constraints.txt pyproject.toml README.md LICENSE ./
COPY bash_files bash_files
COPY cl cl
RUN CPU=$CPU PIP_CONSTRAINT=constraints.txt PIP_NO_CACHE_DIR=1 bash bash_files/setup.sh
COPY . .
# What bash_files/setup.sh exports for training on a CPU.
ENV MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=1073741824 MALLOC_TOP_PAD_=67108864
ENTRYPOINT [".venv/bin/python"]
CMD ["main_contrastive.py", "digits", "resnet6_w16", "--epochs", "20"]
