// A driver round GLPK: reads the MathProg model named, solves its relaxation by the simplex and interior point methods, then
// the integer programme by branch and cut, and prints what came out (glpsol itself prints times, too).
#include <glpk.h>
#include <stdio.h>

int main(int argc, char **argv) {
  glp_term_out(GLP_OFF);
  glp_tran *model = glp_mpl_alloc_wksp();
  if (argc != 2 || glp_mpl_read_model(model, argv[1], 0) || glp_mpl_generate(model, NULL)) return 1;
  glp_prob *p = glp_create_prob();
  glp_mpl_build_prob(model, p);
  printf("%d rows, %d columns, %d integer\n", glp_get_num_rows(p), glp_get_num_cols(p), glp_get_num_int(p));
  glp_smcp simplex;
  glp_init_smcp(&simplex);
  printf("simplex: %d, %.6f\n", glp_simplex(p, &simplex), glp_get_obj_val(p));
  printf("interior point: %d, %.4f\n", glp_interior(p, NULL), glp_ipt_obj_val(p));
  glp_iocp cut;
  glp_init_iocp(&cut);
  cut.gmi_cuts = cut.mir_cuts = cut.cov_cuts = GLP_ON;
  printf("branch and cut: %d, %.6f\n", glp_intopt(p, &cut), glp_mip_obj_val(p));
  for (int i = 1; i <= glp_get_num_cols(p); i++)
    if (glp_get_col_kind(p, i) != GLP_CV && glp_mip_col_val(p, i) > 0.5) printf("%s = %g\n", glp_get_col_name(p, i), glp_mip_col_val(p, i));
  glp_mpl_free_wksp(model);
  glp_delete_prob(p);
  return glp_free_env();
}
