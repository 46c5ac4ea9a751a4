"""General solvers of integer programs, Gurobi and HiGHS, for the selection problem."""
