"""An index backend from outside the package, chosen by configuration as "tests.extensions.my_index:ClusteredIndex".

It is exact: items are stored in clusters by their first component's sign, and every cluster is searched.
"""
