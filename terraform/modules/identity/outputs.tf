output "release_role_arns" {
  description = "For each release the role its workflow assumes."
  value       = { for k, r in aws_iam_role.release : k => r.arn }
}

output "reader_role_arns" {
  description = "The roles of Kyverno and hallmark in the cluster."
  value       = { for k, r in aws_iam_role.reader : k => r.arn }
}

output "github_provider_arn" {
  description = "The IAM OIDC provider of GitHub Actions, for the next root of this account."
  value       = local.provider
}

output "identities" {
  description = "For each release the identity of hallmark.yaml that says the same as the role's trust."
  value = { for k, r in var.releases : k => merge(
    { repository = "${r.owner}/${r.repository}", workflow = r.workflow },
    r.ref == null ? {} : { ref = r.ref },
  ) }
}
