"""From a posterior to what an economist prints: responses, decompositions, smoothed shocks, forecasts."""
