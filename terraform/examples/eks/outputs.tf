output "hallmark_yaml" {
  description = "A hallmark.yaml for each app, to be written into its repository: terraform output -json hallmark_yaml | jq -r .NAME"
  value = { for k, a in var.apps : k => yamlencode({
    version  = 1
    image    = "${data.aws_caller_identity.this.account_id}.dkr.ecr.${var.region}.${data.aws_partition.this.dns_suffix}/${a.image}"
    identity = module.identity.identities[k]
  }) }
}

output "workflow_inputs" {
  description = "For each app what its caller workflow gives the reusable one: aws-role and aws-region."
  value       = { for k, arn in module.identity.release_role_arns : k => { "aws-role" = arn, "aws-region" = var.region } }
}

output "cluster_name" {
  description = "For aws eks update-kubeconfig --name."
  value       = module.cluster.name
}

output "reader_role_arns" {
  description = "The roles of Kyverno and hallmark, for hallmark doctor."
  value       = module.identity.reader_role_arns
}
