"""Runs Verilog under Verilator; the only place of ``cimforge_verif`` that imports cocotb."""
