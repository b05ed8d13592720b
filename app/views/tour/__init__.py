"""The guided tour: ten worked examples, each with its figure beside its question."""
