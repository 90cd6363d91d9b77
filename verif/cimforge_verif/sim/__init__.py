"""Runs Verilog under cocotb and Verilator; the only place of ``cimforge_verif`` that imports cocotb."""
