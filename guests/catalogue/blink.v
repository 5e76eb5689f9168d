// A small core: a state machine that sorts eight bytes in a memory, a multiplier, a CRC, and a display of the result.
module top(input clk, input rst, input [7:0] in, input load, output reg [7:0] out, output done);
  reg [7:0] mem [0:7];
  reg [2:0] i, j, n;
  reg [1:0] state;
  reg [15:0] crc;
  wire [7:0] a = mem[j], b = mem[j + 3'd1];
  wire [15:0] product = a * b;
  assign done = state == 2'd3;
  always @(posedge clk)
    if (rst) begin i <= 0; j <= 0; n <= 0; state <= 0; crc <= 16'hffff; out <= 0; end
    else case (state)
      2'd0: if (load) begin mem[n] <= in; n <= n + 1; if (n == 7) state <= 1; end
      2'd1: begin
        if (a > b && j != 7) begin mem[j] <= b; mem[j + 3'd1] <= a; end
        if (j == 6) begin j <= 0; i <= i + 1; if (i == 6) state <= 2; end else j <= j + 1;
      end
      2'd2: begin
        crc <= {crc[14:0], 1'b0} ^ (crc[15] ? 16'h1021 : 16'h0) ^ product;
        j <= j + 1; if (j == 6) state <= 3;
      end
      2'd3: out <= load ? crc[15:8] : crc[7:0];
    endcase
endmodule
