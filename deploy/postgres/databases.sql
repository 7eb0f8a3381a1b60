-- Run once, by the first start of the container.
CREATE DATABASE dagster;
