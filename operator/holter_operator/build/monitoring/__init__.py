"""What Prometheus and Grafana are told: rules and dashboards, of cohorts and of the operator itself."""
