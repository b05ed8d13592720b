"""The forms a linear map takes in a model: which rows it reads, its matrix, and back.

A `LinearMap` is one map ``z = W x`` that can hold engrams. Most are a module of their own; the four
maps of ``nn.MultiheadAttention`` and the maps of fused experts (`experts`) are parts of one module. It
speaks the homogeneous form of docs/science.md section 1: with a bias, a row is ``[x; 1]`` and the matrix
``[W | b]``. Grouped convolutions are a stack of `groups` independent maps; everything else is a stack of one.
"""
