// Stands in for a header of torch: the type is not used by the test.
#pragma once
