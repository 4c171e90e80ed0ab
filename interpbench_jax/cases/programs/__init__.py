"""The programs of InterpBench's cases, by theme; each module registers its own."""
