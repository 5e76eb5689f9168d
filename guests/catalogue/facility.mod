/* Where to open warehouses, and who serves whom: capacitated facility location, costs by a formula. */
param f := 20; param c := 60;
set F := 1..f; set C := 1..c;
param demand{j in C} := 5 + (j * 7919) mod 17;
param capacity{i in F} := 60 + (i * 104729) mod 41;
param open{i in F} := 90 + (i * 1299709) mod 61;
param cost{i in F, j in C} := 1 + ((i * 31 + j * 17) * 7919) mod 37;
var y{F}, binary;
var x{F, C}, >= 0, <= 1;
minimize total: sum{i in F} open[i] * y[i] + sum{i in F, j in C} cost[i, j] * demand[j] / 5 * x[i, j];
s.t. served{j in C}: sum{i in F} x[i, j] = 1;
s.t. fits{i in F}: sum{j in C} demand[j] * x[i, j] <= capacity[i] * y[i];
end;
