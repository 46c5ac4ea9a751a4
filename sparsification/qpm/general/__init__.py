"""General solvers of integer programs, Gurobi and HiGHS, on the selection problem."""
