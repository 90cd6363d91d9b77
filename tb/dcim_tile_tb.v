// Plain Verilog bench of an emitted tile: the .hex files of `cimforge vectors --readmemh` in, every
// whole word of the results compared, no stream ever stalled.
//
// Macros: COMMANDS, WEIGHTS, ACTS, RESULTS (lines of each file), WEIGHT_BITS, ACT_BITS, RESULT_BITS
// (widths of the payloads), CYCLES (predicted), and TOP, the name of the tile's module.
`timescale 1ns/1ps
`ifndef TOP
`define TOP dcim_tile
`endif

module tb;
  reg clk = 0, rst = 1;
  always #5 clk = ~clk;

  reg [127:0] commands [0:`COMMANDS];
  reg [`WEIGHT_BITS-1:0] weights [0:`WEIGHTS];
  reg [`ACT_BITS-1:0] acts [0:`ACTS];
  reg [`RESULT_BITS-1:0] results [0:`RESULTS];
  integer c = 0, w = 0, a = 0, r = 0, bad = 0;

  initial begin
    $readmemh("commands.hex", commands, 0, `COMMANDS - 1);
    $readmemh("weights.hex", weights, 0, `WEIGHTS - 1);
    $readmemh("acts.hex", acts, 0, `ACTS - 1);
    $readmemh("results.hex", results, 0, `RESULTS - 1);
    #32 rst = 0;
  end

  wire command_valid = !rst && c < `COMMANDS;
  wire weight_valid = !rst && w < `WEIGHTS;
  wire act_valid = !rst && a < `ACTS;
  wire command_ready, weight_ready, act_ready, result_valid, busy;
  wire [`RESULT_BITS-1:0] result;
  wire [3:0] error;
  wire [39:0] cycles, stall;

  `TOP tile (
    .clk(clk), .rst(rst), .clear(1'b0), .busy(busy), .error(error),
    .commands__valid(command_valid), .commands__ready(command_ready),
    .commands__payload(commands[c]),
    .weights__valid(weight_valid), .weights__ready(weight_ready), .weights__payload(weights[w]),
    .acts__valid(act_valid), .acts__ready(act_ready), .acts__payload(acts[a]),
    .results__valid(result_valid), .results__ready(1'b1), .results__payload(result),
    .counters__cycles(cycles), .counters__stall(stall));

  always @(posedge clk) if (!rst) begin
    if (command_valid && command_ready) c <= c + 1;
    if (weight_valid && weight_ready) w <= w + 1;
    if (act_valid && act_ready) a <= a + 1;
    if (result_valid !== 1'b0) begin
      if (r >= `RESULTS || result !== results[r]) begin
        bad = bad + 1;
        $display("beat %0d: got %h, expected %h", r, result, results[r]);
      end
      r = r + 1;
    end
    if (c == `COMMANDS && busy === 1'b0) begin
      if (r != `RESULTS || error !== 4'd0 || cycles !== `CYCLES || stall !== 40'd0) bad = bad + 1;
      $display("%0s: %0d of %0d beats, %0d wrong, error %0d, cycles %0d of %0d, stall %0d",
               bad ? "FAIL" : "PASS", r, `RESULTS, bad, error, cycles, `CYCLES, stall);
      $finish;
    end
  end

  initial begin
    #(10 * (2 * `CYCLES + 100)) $display("FAIL: not done, %0d of %0d beats", r, `RESULTS);
    $finish;
  end
endmodule
